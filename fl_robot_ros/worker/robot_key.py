"""The private key in a robot's enrolment, as Flower's node authentication uses it."""

from __future__ import annotations

import base64
from datetime import datetime, timezone

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_ssh_private_key,
)

from fl_robot_ros.errors import IdentityError
from fl_robot_ros.identity.enrolment import Enrolment

# As flwr.supercore.constant and flwr.common.constant have them, which take a second to load.
_PUBLIC_KEY, _SIGNATURE, _TIMESTAMP = "flwr-public-key", "flwr-signature", "flwr-timestamp"


def robot_key(enrolment: Enrolment) -> ec.EllipticCurvePrivateKey:
    """Return the robot's private key.

    Raises:
        IdentityError: The enrolment's key is damaged, or of another kind.
    """
    try:
        key = load_ssh_private_key(enrolment.private_key.encode(), None)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise IdentityError(
            f"the private key in the enrolment of {enrolment.robot} is damaged: {error}; copy the "
            "file again that 'fl_keys robot' wrote"
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise IdentityError(f"the private key in the enrolment of {enrolment.robot} is no EC key")
    return key


def signed_headers(enrolment: Enrolment) -> dict[str, str]:
    """Return the headers of a request that tell who the robot is.

    Raises:
        IdentityError: The enrolment's key is damaged, or of another kind.
    """
    key = robot_key(enrolment)
    public_key = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    timestamp = datetime.now(timezone.utc).isoformat()
    signature = key.sign(timestamp.encode(), ec.ECDSA(hashes.SHA256()))
    return {
        _PUBLIC_KEY: base64.b64encode(public_key).decode(),
        _TIMESTAMP: timestamp,
        _SIGNATURE: base64.b64encode(signature).decode(),
    }
