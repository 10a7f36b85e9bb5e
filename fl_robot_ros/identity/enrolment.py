"""A robot's enrolment: one file that makes it a member of a fleet.

`fl_keys robot NAME` writes the file, a person copies it to the robot. Nothing beyond the standard
library reads it, so that a node says at its start what is wrong with it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from fl_robot_ros.errors import IdentityError
from fl_robot_ros.identity.robot_name import checked_robot_name

SCHEMA_VERSION = 1
# Header in which a robot's process may tell itself from others with the same enrolment.
PROCESS_HEADER = "fl-robot-process"
_MAX_BYTES = 64 * 1024
_FLEET_KEY_BYTES = 32
_PRIVATE_KEY_HEAD = "-----BEGIN OPENSSH PRIVATE KEY-----"


@dataclass(frozen=True)
class Enrolment:
    """The content of an enrolment; checked at construction.

    Attributes:
        robot: Name under which the fleet knows the robot.
        private_key: The robot's EC P-384 key as OpenSSH text, the format that
            `flower-supernode --auth-supernode-private-key` reads.
        ca_certificate: Certificate of the authority that signed the server's, PEM.
        fleet_key: The Ed25519 public key that the fleet's models are signed with, 32 bytes in
            Base64.
        server_address: host:port of the server; "" where the robot's settings say it.
        schema_version: Version of this format.
    """

    robot: str
    private_key: str
    ca_certificate: str
    fleet_key: str
    server_address: str = ""
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            IdentityError: A field has the wrong type or an invalid value.
        """
        if self.schema_version != SCHEMA_VERSION:
            raise IdentityError(
                f"schema_version is {self.schema_version!r}; this program reads "
                f"{SCHEMA_VERSION}, a newer one needs a newer fl_robot_ros"
            )
        for name in ("robot", "private_key", "ca_certificate", "fleet_key", "server_address"):
            if not isinstance(getattr(self, name), str):
                raise IdentityError(f"{name} is not text")
        checked_robot_name(self.robot)
        if not self.private_key.startswith(_PRIVATE_KEY_HEAD):
            raise IdentityError("private_key is no OpenSSH private key")
        try:
            key = base64.b64decode(self.fleet_key, validate=True)
        except ValueError:
            key = b""
        if len(key) != _FLEET_KEY_BYTES:
            raise IdentityError(f"fleet_key is not {_FLEET_KEY_BYTES} bytes in Base64")
        _check_ca(self.ca_certificate)

    @property
    def fleet_key_id(self) -> str:
        """Short name of the fleet's key: 16 hexadecimal digits."""
        return key_id(base64.b64decode(self.fleet_key))

    def to_json(self) -> str:
        """Return the file's text."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def load(cls, path: Path) -> Enrolment:
        """Read and check an enrolment.

        Raises:
            IdentityError: The file is missing, damaged, or its authority is not valid now.
        """
        try:
            with path.open("rb") as file:
                content = file.read(_MAX_BYTES + 1)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise IdentityError(f"enrolment {path} cannot be read: {reason}") from error
        names = {field.name for field in fields(cls)}
        try:
            values = json.loads(content.decode("utf-8"))
            if not isinstance(values, dict) or set(values) != names:
                raise IdentityError(f"expected exactly the names {', '.join(sorted(names))}")
            return cls(**values)
        except (ValueError, RecursionError, IdentityError) as error:
            reason = str(error) if isinstance(error, IdentityError) else "it is no JSON"
            raise IdentityError(
                f"{path} is no enrolment of a robot: {reason}; copy the file again that 'fl_keys "
                "robot' wrote"
            ) from error


def key_id(key: bytes) -> str:
    """Return the short name of a public key: 16 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(key).hexdigest()[:16]


def _check_ca(certificate: str) -> None:
    """Check that a certificate of an authority is one and valid now.

    Raises:
        IdentityError: It is not.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=certificate)
        [found] = context.get_ca_certs()
    except (ValueError, ssl.SSLError) as error:
        raise IdentityError("ca_certificate is no certificate of an authority") from error
    begin, end = str(found["notBefore"]), str(found["notAfter"])
    if not ssl.cert_time_to_seconds(begin) <= time.time() <= ssl.cert_time_to_seconds(end):
        raise IdentityError(
            f"its authority is valid from {begin} to {end}, and this robot's clock says "
            f"{time.strftime('%b %d %H:%M:%S %Y', time.gmtime())} GMT; set the clock right, or "
            "enrol the robot anew"
        )
