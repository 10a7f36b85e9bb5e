"""The first words with a server, before Flower and TensorFlow are loaded: who is it, may we join?

Flower names none of what is wrong with a certificate, a name or a key, and repeats what it cannot
do. Here one handshake and one request find out, and every refusal is one line.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from fl_robot_ros.errors import ServerUnreachableError
from fl_robot_ros.identity.enrolment import Enrolment
from fl_robot_ros.worker.come_back import TOO_EARLY, no_run

# With a server that admits enrolled robots alone, the question whether this one may join.
_QUESTION = "/v1/fleet/register-node"
_REPLY_SEC = 10.0
_MAX_REPLY_BYTES = 4096
_PROTOBUF = "application/protobuf"
_ADMITTED, _NO_SUCH_PATH, _NOT_ADMITTED, _CONFLICT, _NOT_READY = 204, 404, 401, 409, 503
_RETRY_SEC = 1.0
# OpenSSL's numbers of what is wrong with a certificate, as in x509_vfy.h.
_NOT_YET_VALID, _EXPIRED = 9, 10
_OTHER_NAME = (62, 64)


def introduce(
    address: str,
    certificates: str,
    enrolment: Enrolment | None,
    timeout_sec: float,
) -> None:
    """Ask a server that listens whether this robot may join.

    Args:
        address: host:port.
        certificates: The server's certificate authority, PEM; "" for plain HTTP.
        enrolment: The robot's enrolment, None without one.
        timeout_sec: How long to wait for a server that is not ready, and for another robot with
            the same enrolment to leave.

    Raises:
        ServerUnreachableError: The server cannot be trusted, is none, or refuses this robot.
        NoRunError: The server has no run now.
    """
    deadline = time.monotonic() + timeout_sec
    while True:
        status, text = _ask(address, certificates, enrolment)
        if status not in (_CONFLICT, _NOT_READY) or time.monotonic() > deadline:
            break
        # A worker that was killed a moment ago may seem to be there.
        time.sleep(_RETRY_SEC)
    if status == TOO_EARLY:
        raise no_run(address, text)
    reason = refusal_in(text)
    if reason:
        raise ServerUnreachableError(f"the server at {address} does not take this robot: {reason}")
    if status == _NOT_READY:
        raise ServerUnreachableError(f"the server at {address} is not ready: {text[:200].strip()}")
    if status == _NO_SUCH_PATH:
        raise ServerUnreachableError(_no_server(address))
    if enrolment is not None and status != _ADMITTED:
        raise ServerUnreachableError(
            f"the server at {address} has no list of enrolled robots, and signs no models; start "
            "fl_server with keys_dir, or leave the setting enrolment empty"
        )


def refusal_in(text: str) -> str:
    """Return the reason in the refusal of a robot by `cloud.admission`; "" in any other text."""
    try:
        values = json.loads(text)
        if isinstance(values, dict) and values.get("code") in (_NOT_ADMITTED, _CONFLICT):
            return "".join(c if c.isprintable() else " " for c in str(values["detail"])[:500])
    except (ValueError, KeyError, RecursionError):
        pass
    return ""


def read_certificates(root_certificates: str, enrolment: Enrolment | None) -> str:
    """Return the server's certificate authority, PEM; "" for plain HTTP.

    Args:
        root_certificates: A PEM file; "" for that of the enrolment.
        enrolment: The robot's enrolment, None without one.

    Raises:
        ServerUnreachableError: The file cannot be read.
    """
    if not root_certificates:
        return enrolment.ca_certificate if enrolment else ""
    try:
        return Path(root_certificates).read_text(encoding="ascii")
    except (OSError, ValueError) as error:
        raise ServerUnreachableError(
            f"cannot use the certificates in {root_certificates}: {error}"
        ) from error


def _ask(address: str, certificates: str, enrolment: Enrolment | None) -> tuple[int, str]:
    """Return status and text of the server's reply.

    Raises:
        ServerUnreachableError: There is none.
    """
    try:
        with _connect(address) as plain:
            if not certificates:
                return _request(plain, address, {})
            with _encrypted(plain, address, certificates) as connection:
                return _request(connection, address, _signed(enrolment))
    except (OSError, http.client.HTTPException) as error:
        is_late = isinstance(error, TimeoutError)
        if not (certificates or is_late) and _speaks_tls(address):
            raise ServerUnreachableError(
                f"the server at {address} speaks TLS, and this robot was told plain HTTP; set "
                "enrolment to the file of 'fl_keys robot NAME', or root_certificates"
            ) from error
        if isinstance(error, http.client.HTTPException) and not isinstance(error, OSError):
            raise ServerUnreachableError(_no_server(address)) from error
        how = f" in {_REPLY_SEC:g} s" if is_late else f": {error or type(error).__name__}"
        raise ServerUnreachableError(
            f"the server at {address} does not reply{how}; look whether fl_server runs there, or "
            "correct the host and the port"
        ) from error


def _connect(address: str) -> socket.socket:
    host, port = _host_and_port(address)
    return socket.create_connection((host, port), _REPLY_SEC)


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _encrypted(plain: socket.socket, address: str, certificates: str) -> ssl.SSLSocket:
    """Make the TLS handshake.

    Raises:
        ServerUnreachableError: The server is not the one of the certificate authority.
        OSError: The connection broke.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    host, _ = _host_and_port(address)
    try:
        context.load_verify_locations(cadata=certificates)
    except ssl.SSLError as error:
        raise ServerUnreachableError(f"cannot use the certificates: {error}") from error
    try:
        return _shake_hands(context, plain, host)
    except ssl.SSLCertVerificationError as error:
        raise ServerUnreachableError(
            f"the server at {address} is not trusted: {_describe(error, host)}"
        ) from error
    except (ssl.SSLError, ConnectionError) as error:
        if _speaks_http(address):
            raise ServerUnreachableError(
                f"the server at {address} speaks plain HTTP, and this robot goes to servers with "
                "TLS alone; start fl_server with keys_dir, or leave enrolment and "
                "root_certificates empty"
            ) from error
        raise ServerUnreachableError(
            f"the server at {address} does not speak TLS: {getattr(error, 'reason', '') or error}"
        ) from error


def _shake_hands(context: ssl.SSLContext, plain: socket.socket, host: str | None) -> ssl.SSLSocket:
    connection = context.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
    try:
        with limited(connection, _REPLY_SEC):
            connection.do_handshake()
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def limited(connection: socket.socket, seconds: float) -> Iterator[None]:
    """Break a connection after some time: who drips a byte now and then meets every timeout.

    Raises:
        TimeoutError: It was broken.
    """
    is_late = threading.Event()

    def break_off() -> None:
        is_late.set()
        with suppress(OSError):
            socket.socket.shutdown(connection, socket.SHUT_RDWR)

    timer = threading.Timer(seconds, break_off)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        if is_late.is_set():
            raise TimeoutError from error
        raise
    finally:
        timer.cancel()
    if is_late.is_set():
        raise TimeoutError


def _no_server(address: str) -> str:
    return f"what listens at {address} is no fl_server; correct the host and the port"


def _describe(error: ssl.SSLCertVerificationError, host: str) -> str:
    """Return what is wrong with a server's certificate, and what to do."""
    clock = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    if error.verify_code == _EXPIRED:
        return (
            "its certificate has expired; make a new one with 'fl_keys host', or set this robot's "
            f"clock right, which says {clock}"
        )
    if error.verify_code == _NOT_YET_VALID:
        return (
            f"its certificate is not valid yet; set this robot's clock right, which says {clock}"
        )
    if error.verify_code in _OTHER_NAME:
        return (
            f"its certificate is not for {host}; make one with 'fl_keys host', or reach the "
            "server under another name"
        )
    return (
        "its certificate is of another authority than this robot's enrolment or root_certificates "
        f"({error.verify_message})"
    )


def _request(
    connection: socket.socket, address: str, headers: Mapping[str, str]
) -> tuple[int, str]:
    """Send the question; return status and text of the reply.

    Raises:
        OSError: The connection broke, or there is no reply in time.
        http.client.HTTPException: The reply is no HTTP.
    """
    host, port = _host_and_port(address)
    client = http.client.HTTPConnection(host, port)
    client.sock = connection
    content_type = {"content-type": _PROTOBUF, "accept": _PROTOBUF}
    with limited(connection, _REPLY_SEC):
        client.request("POST", _QUESTION, b"", {**content_type, **headers})
        response = client.getresponse()
        text = response.read(_MAX_REPLY_BYTES).decode("utf-8", errors="replace")
    return response.status, text


def _signed(enrolment: Enrolment | None) -> dict[str, str]:
    """Return the headers that tell who this robot is."""
    if enrolment is None:
        return {}
    from fl_robot_ros.worker.robot_key import signed_headers

    return signed_headers(enrolment)


def _speaks_tls(address: str) -> bool:
    """Return whether a server makes a TLS handshake, of whatever certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with _connect(address) as plain, _shake_hands(context, plain, None):
            return True
    except OSError:
        return False


def _speaks_http(address: str) -> bool:
    """Return whether a server replies to plain HTTP."""
    try:
        with _connect(address) as plain:
            _request(plain, address, {})
            return True
    except (OSError, http.client.HTTPException):
        return False
