"""The operator's key folder, which `fl_keys` makes and `fl_server` reads.

    ca.pem, ca.key   the certificate authority; the key is needed for `init` and `host` alone
    server.pem       the server's certificate and its key
    model.key        the Ed25519 key that models are signed with
    robots.json      the enrolled robots

All of it is for its owner's eyes.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from fl_robot_ros.errors import IdentityError
from fl_robot_ros.identity.certificates import make_authority, make_server_certificate
from fl_robot_ros.identity.enrolment import Enrolment, key_id
from fl_robot_ros.identity.private_file import create_private_file, replace_private_file
from fl_robot_ros.identity.robot_list import ROBOTS_FILE, EnrolledRobot, RobotList
from fl_robot_ros.identity.robot_name import checked_robot_name
from fl_robot_ros.process_lock import ProcessLock

_CA_FILE, _CA_KEY_FILE = "ca.pem", "ca.key"
_SERVER_FILE = "server.pem"
_MODEL_KEY_FILE = "model.key"
_LOCK_FILE = ".lock"
_LOCK_TIMEOUT_SEC = 10.0


class KeyFolder:
    """A key folder that exists."""

    def __init__(self, path: Path) -> None:
        """Look for the folder.

        Args:
            path: The folder.

        Raises:
            IdentityError: The folder is not there, or `fl_keys` did not make it.
        """
        self.path = path
        if not self.robots_file.is_file():
            raise IdentityError(
                f"there are no keys in {path}; make them with: fl_keys init --host NAME"
            )

    @classmethod
    def create(cls, path: Path, hosts: Sequence[str]) -> KeyFolder:
        """Make the keys of a new fleet.

        Args:
            path: A folder that is empty or does not exist.
            hosts: Names and addresses, one or more, under which robots reach the server.

        Raises:
            IdentityError: A host is invalid, or the folder has content or cannot be written.
        """
        model_key = ed25519.Ed25519PrivateKey.generate()
        authority_key = ec.generate_private_key(ec.SECP256R1())
        authority = make_authority(authority_key, f"fl_robot_ros fleet {_fleet_key_id(model_key)}")
        server = _server_pem(hosts, authority, authority_key)
        with _locked(path, make=True):
            if any(one.name != _LOCK_FILE for one in path.iterdir()):
                raise IdentityError(
                    f"{path} exists already and is not empty; 'fl_keys list' shows its robots, "
                    "'fl_keys host' makes a certificate for other hosts; or name another folder"
                )
            create_private_file(path / _CA_KEY_FILE, _private_pem(authority_key))
            create_private_file(path / _CA_FILE, authority.public_bytes(Encoding.PEM))
            create_private_file(path / _SERVER_FILE, server)
            create_private_file(path / _MODEL_KEY_FILE, _private_pem(model_key))
            RobotList().write(path / ROBOTS_FILE)
        return cls(path)

    @property
    def robots_file(self) -> Path:
        """The list of robots."""
        return self.path / ROBOTS_FILE

    @property
    def server_file(self) -> Path:
        """PEM file with the certificate and the key of the server."""
        return self.path / _SERVER_FILE

    @property
    def private_files(self) -> tuple[Path, ...]:
        """The files with private keys; that of the authority may lie elsewhere."""
        names = (_SERVER_FILE, _MODEL_KEY_FILE, _CA_KEY_FILE)
        return tuple(self.path / name for name in names)

    def authority(self) -> x509.Certificate:
        """Return the authority's certificate.

        Raises:
            IdentityError: The file cannot be read.
        """
        return _read_certificate(self.path / _CA_FILE)

    def server_certificate(self) -> x509.Certificate:
        """Return the server's certificate.

        Raises:
            IdentityError: The file cannot be read.
        """
        return _read_certificate(self.server_file)

    def model_key(self) -> ed25519.Ed25519PrivateKey:
        """Return the key that models are signed with.

        Raises:
            IdentityError: The file cannot be read.
        """
        return cast(
            ed25519.Ed25519PrivateKey,
            _read_key(self.path / _MODEL_KEY_FILE, ed25519.Ed25519PrivateKey),
        )

    def model_key_id(self) -> str:
        """Return the short name of that key.

        Raises:
            IdentityError: The file cannot be read.
        """
        return _fleet_key_id(self.model_key())

    def robots(self) -> RobotList:
        """Return the enrolled robots.

        Raises:
            IdentityError: The list cannot be read.
        """
        return RobotList.load(self.robots_file)

    def renew_server(self, hosts: Sequence[str]) -> None:
        """Replace the server's certificate and key; enrolments stay valid.

        Args:
            hosts: Names and addresses, one or more, under which robots reach the server.

        Raises:
            IdentityError: A host is invalid, or a file cannot be read or written.
        """
        with _locked(self.path):
            key = _read_key(self.path / _CA_KEY_FILE, ec.EllipticCurvePrivateKey)
            content = _server_pem(hosts, self.authority(), cast(ec.EllipticCurvePrivateKey, key))
            replace_private_file(self.server_file, content)

    def enrol(self, name: str, file: Path, server_address: str) -> Enrolment:
        """Enrol a robot: write its enrolment, and enter it into the list.

        Args:
            name: The robot's name.
            file: File for the enrolment; it must not exist.
            server_address: host:port of the server, or "".

        Raises:
            IdentityError: The name is invalid or enrolled, or a file cannot be read or written.
        """
        checked_robot_name(name)
        key = ec.generate_private_key(ec.SECP384R1())
        public_key = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        enrolment = Enrolment(
            robot=name,
            private_key=key.private_bytes(
                Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()
            ).decode(),
            ca_certificate=self.authority().public_bytes(Encoding.PEM).decode(),
            fleet_key=base64.b64encode(_fleet_key(self.model_key())).decode(),
            server_address=server_address,
        )
        with _locked(self.path):
            robots = self.robots().added(EnrolledRobot(name, public_key.decode(), _utc()))
            # The file first: a name without one could not be enrolled again.
            create_private_file(file, enrolment.to_json().encode())
            try:
                robots.write(self.robots_file)
            except IdentityError:
                file.unlink(missing_ok=True)
                raise
        return enrolment

    def revoke(self, name: str) -> None:
        """Shut a robot out; a server that runs does so at once.

        Raises:
            IdentityError: No robot of that name is enrolled, or the list cannot be written.
        """
        with _locked(self.path):
            self.robots().revoked(name, _utc()).write(self.robots_file)


@contextmanager
def _locked(path: Path, *, make: bool = False) -> Iterator[None]:
    """Keep other commands away from the folder.

    Raises:
        IdentityError: The folder cannot be written, or another command uses it for too long.
    """
    try:
        if make:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.chmod(0o700)
        lock = ProcessLock(path / _LOCK_FILE)
    except OSError as error:
        raise IdentityError(f"cannot write into {path}: {error.strerror}") from error
    try:
        if not lock.acquire(_LOCK_TIMEOUT_SEC):
            raise IdentityError(f"another fl_keys uses {path}; try again when it has ended")
        yield
    finally:
        lock.close()


def _utc() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _fleet_key(key: ed25519.Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def _fleet_key_id(key: ed25519.Ed25519PrivateKey) -> str:
    return key_id(_fleet_key(key))


def _server_pem(
    hosts: Sequence[str], authority: x509.Certificate, authority_key: ec.EllipticCurvePrivateKey
) -> bytes:
    """Return a new key of a server and its certificate, in one PEM text."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = make_server_certificate(key, hosts, authority, authority_key)
    return _private_pem(key) + certificate.public_bytes(Encoding.PEM)


def _private_pem(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _read_certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise IdentityError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise IdentityError(f"{path} holds no certificate: {error}") from error


def _read_key(path: Path, kind: type[object]) -> object:
    """Return a private key.

    Raises:
        IdentityError: The file cannot be read, or holds no key of that kind.
    """
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise IdentityError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise IdentityError(f"{path} holds no private key: {error}") from error
    if not isinstance(key, kind):
        raise IdentityError(f"{path} holds a private key of another kind")
    return key
