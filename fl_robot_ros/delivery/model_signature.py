"""The signature of a stored model version."""

from __future__ import annotations

import base64

from fl_robot_ros.delivery.manifest import Manifest
from fl_robot_ros.dependency import describe_unimportable
from fl_robot_ros.errors import IdentityError, MissingPackageError
from fl_robot_ros.identity.enrolment import Enrolment

# What a manifest repeats of the signed statement.
_REPEATED = ("run", "round", "counter", "classes", "preprocessing")


def verify_signature(manifest: Manifest, enrolment: Enrolment) -> None:
    """Check that a robot's fleet signed what a manifest says of its model.

    The signed SHA-256 is that of the weights, which the robot compared when the model came; it is
    not compared with the files again.

    Args:
        manifest: The manifest of the version.
        enrolment: The robot's enrolment, which has the fleet's key.

    Raises:
        IdentityError: The version is not signed, by another fleet or falsely, or its manifest says
            something else than what was signed.
        MissingPackageError: The package cryptography cannot be imported.
    """
    try:
        # Not at the top: apt does not bring cryptography to every robot.
        from fl_robot_ros.identity.signed_model import Signature, open_statement
    except ImportError as error:
        raise MissingPackageError(describe_unimportable(error)) from error
    if not manifest.signature:
        raise IdentityError(f"{manifest.version} is not signed; the fleet's own models are")
    signature = Signature(manifest.statement, manifest.signature, manifest.key_id)
    signed = open_statement(signature, base64.b64decode(enrolment.fleet_key))
    for name in _REPEATED:
        found = getattr(manifest, name)
        if signed.get(name) != found:
            raise IdentityError(
                f"the manifest of {manifest.version} is not what was signed: {name} is "
                f"{str(found)[:100]!r} instead of {str(signed.get(name))[:100]!r}"
            )
