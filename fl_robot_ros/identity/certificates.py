"""The fleet's certificate authority, and the certificate of its server."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fl_robot_ros.errors import IdentityError

# Robots on the server's own machine.
_LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1")
_CA_DAYS = 20 * 365
_SERVER_DAYS = 2 * 365
# A robot whose clock is a little late takes a new certificate all the same.
_EARLIER = timedelta(days=1)
_HOST_NAME = re.compile(r"(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9]([a-z0-9-]*)")

Key = ec.EllipticCurvePrivateKey


def make_authority(key: Key, name: str) -> x509.Certificate:
    """Return a certificate that the authority signs for itself.

    Args:
        key: The authority's key.
        name: What people read in the certificate.
    """
    identity = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    usage = _key_usage(key_cert_sign=True, crl_sign=True)
    return (
        _certificate(name, name, key, _CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(identity, critical=False)
        .sign(key, hashes.SHA256())
    )


def make_server_certificate(
    key: Key, hosts: Sequence[str], authority: x509.Certificate, authority_key: Key
) -> x509.Certificate:
    """Return a certificate for a server, which clients on its own machine accept as well.

    Args:
        key: The server's key.
        hosts: Names and addresses, one or more, under which robots reach the server.
        authority: The certificate of the authority.
        authority_key: The key of the authority.

    Raises:
        IdentityError: A name is neither a host name nor an address.
    """
    names = [general_name(host) for host in dict.fromkeys((*hosts, *_LOOPBACK_HOSTS))]
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    identity = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    common_name = authority.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    return (
        _certificate("fl_server", str(common_name), key, _SERVER_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(usages, critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(identity, critical=False)
        .add_extension(issuer, critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def hosts_of(certificate: x509.Certificate) -> list[str]:
    """Return the names and addresses that a server's certificate is for."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [str(name.value) for name in names]


def own_hosts_of(certificate: x509.Certificate) -> list[str]:
    """Return the names and addresses as `hosts_of`, without those of the loopback interface."""
    return [host for host in hosts_of(certificate) if host not in _LOOPBACK_HOSTS]


def end_of(certificate: x509.Certificate) -> datetime:
    """Return the end of a certificate's validity, in UTC."""
    try:
        return certificate.not_valid_after_utc
    except AttributeError:  # cryptography of Ubuntu 22.04 and 24.04
        return certificate.not_valid_after.replace(tzinfo=timezone.utc)


def general_name(host: str) -> x509.GeneralName:
    """Return a host as certificates name it.

    Raises:
        IdentityError: The host is neither a name nor an address.
    """
    try:
        return x509.IPAddress(ip_address(host.strip("[]")))
    except ValueError:
        if not _HOST_NAME.fullmatch(host.lower()) or host.replace(".", "").isdigit():
            raise IdentityError(
                f"host is {host[:80]!r}; expected a name or an address without a port, such as "
                "'cloud.example.org' or '192.0.2.7'"
            ) from None
        return x509.DNSName(host.lower())


def _certificate(subject: str, issuer: str, key: Key, days: int) -> x509.CertificateBuilder:
    now = datetime.now(timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + timedelta(days=days))
    )


def _key_usage(**used: bool) -> x509.KeyUsage:
    names = (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
        *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    )
    return x509.KeyUsage(**{name: used.get(name, False) for name in names})
