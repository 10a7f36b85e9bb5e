"""Certificates that a real authority would not make, and a gate that serves with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from fl_robot_ros.cloud.admission import Admission
from fl_robot_ros.cloud.gate import Gate
from fl_robot_ros.cloud.refusal_log import RefusalLog
from fl_robot_ros.cloud.tls_door import load_certificate
from fl_robot_ros.config import ServerSettings
from fl_robot_ros.identity.enrolment import Enrolment
from fl_robot_ros.identity.key_folder import KeyFolder


def enrol(keys: KeyFolder, name: str) -> Enrolment:
    """Enrol a robot; its file lies beside the key folder."""
    return keys.enrol(name, keys.path.parent / f"{keys.path.name}-{name}.json", "")


def write_server_certificate(
    keys: KeyFolder, file: Path, *, begins_days: int, ends_days: int, host: str = "127.0.0.1"
) -> None:
    """Write a certificate and its key as the fleet's authority would sign it on another day.

    Args:
        keys: The fleet's keys.
        file: File to write.
        begins_days: Days from now to the begin of its validity.
        ends_days: Days from now to the end.
        host: Its only name or address.
    """
    authority_key = load_pem_private_key((keys.path / "ca.key").read_bytes(), None)
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    try:
        name: x509.GeneralName = x509.IPAddress(ip_address(host))
    except ValueError:
        name = x509.DNSName(host)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")]))
        .issuer_name(keys.authority().subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=begins_days))
        .not_valid_after(now + timedelta(days=ends_days))
        .add_extension(x509.SubjectAlternativeName([name]), critical=False)
        .sign(cast(ec.EllipticCurvePrivateKey, authority_key), hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(private + certificate.public_bytes(Encoding.PEM))


@contextmanager
def serving_gate(
    superlink_port: int,
    certificate: Path | None,
    robots_file: Path | None,
    say: Callable[[str], None],
) -> Iterator[Gate]:
    """Serve a gate on a free port of the loopback interface.

    Args:
        superlink_port: Port of the SuperLink.
        certificate: PEM file with certificate and key; None for plain HTTP.
        robots_file: The list of enrolled robots; None: everybody may join.
        say: Takes the lines to the operator.
    """
    settings = ServerSettings.from_mapping({"classes": ["a", "b"], "port": 0})
    refusals = RefusalLog(say)
    admission = Admission(robots_file, refusals) if robots_file else None
    tls = load_certificate(certificate, certificate) if certificate else None
    with Gate(settings, tls, admission, refusals) as gate, gate.serving(superlink_port):
        yield gate
