"""The doors of the server's listener, with TLS and without: why a connection failed there.

uvicorn makes handshakes by itself and drops those that fail without a word; here the operator
reads why a robot could not come in.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

# Of a client on a slow link.
_HANDSHAKE_SEC = 15.0
_MAX_HANDSHAKES = 512

# Ends of OpenSSL's names for the alert of the other side.
_REASONS = {
    "UNKNOWN_CA": "it does not know the authority of this server's certificate: it is enrolled in "
    "another fleet, or its root_certificates are another server's",
    "CERTIFICATE_EXPIRED": "it finds this server's certificate expired; make a new one with "
    "'fl_keys host', or set the robot's clock right",
    "BAD_CERTIFICATE": "it does not take this server's certificate: it reaches the server under a "
    "name or address that is not in it ('fl_keys host' makes another), or its clock is wrong",
    "HTTP_REQUEST": "it speaks plain HTTP, and this server TLS; the robot needs its enrolment",
    "WRONG_VERSION_NUMBER": "it does not speak TLS",
}
_SPEAKS_TLS = (
    "it speaks TLS, and this server plain HTTP; start fl_server with the keys_dir of its fleet, "
    "or leave enrolment and root_certificates of the robot empty"
)
# The first byte of a handshake, and of no request.
_HANDSHAKE = b"\x16"
_LEFT = ("UNEXPECTED_EOF_WHILE_READING", "EOF occurred")


def load_certificate(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return the context of a server with a certificate.

    Args:
        certificate: PEM file of the certificate and those between it and the authority.
        key: PEM file of its key, not encrypted.

    Raises:
        OSError: A file cannot be read, or they do not go together.
        ValueError: A file is of another kind.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key, password=lambda: b"")
    return context


OnRefused = Callable[[str, str, str], None]


class PlainDoor(asyncio.Protocol):
    """A new connection without TLS, which is another protocol's with its first byte."""

    def __init__(self, protocol: asyncio.Protocol, on_refused: OnRefused) -> None:
        """Wait for the connection.

        Args:
            protocol: Takes the connection.
            on_refused: Takes address, kind and reason of a client that speaks TLS.
        """
        self._protocol = protocol
        self._on_refused = on_refused

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let the other protocol wait for the first byte."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._protocol.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Look at the first byte, and hand over."""
        if data.startswith(_HANDSHAKE):
            self._on_refused(_address(self._transport), "TLS", _SPEAKS_TLS)
        self._transport.set_protocol(self._protocol)
        self._protocol.data_received(data)

    def eof_received(self) -> bool | None:
        """Pass on the end of a client that said nothing."""
        return self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass on the end of a connection over which nothing came."""
        self._protocol.connection_lost(exc)


class TlsDoor(asyncio.Protocol):
    """A new connection, which is another protocol's after the handshake."""

    _waiting: ClassVar[set[asyncio.Task[None]]] = set()

    def __init__(
        self,
        context: ssl.SSLContext,
        protocol: asyncio.Protocol,
        on_refused: OnRefused,
    ) -> None:
        """Wait for the connection.

        Args:
            context: The server's certificate.
            protocol: Takes the connection after the handshake.
            on_refused: Takes address, kind and reason of a handshake that failed.
        """
        self._context = context
        self._protocol = protocol
        self._on_refused = on_refused
        self._early: list[bytes] = []
        self._is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin with the handshake."""
        assert isinstance(transport, asyncio.Transport)
        if len(self._waiting) >= _MAX_HANDSHAKES:
            transport.abort()
            return
        transport.pause_reading()  # until the handshake reads
        task = asyncio.get_running_loop().create_task(self._open(transport))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    def data_received(self, data: bytes) -> None:
        """Keep what comes with the end of the handshake."""
        self._early.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end of the connection."""
        self._is_lost = True

    async def _open(self, transport: asyncio.Transport) -> None:
        loop = asyncio.get_running_loop()
        try:
            encrypted: Any = await loop.start_tls(
                transport,
                self,
                self._context,
                server_side=True,
                ssl_handshake_timeout=_HANDSHAKE_SEC,
            )
        except ssl.SSLError as error:
            self._report(transport, error)
            return
        except OSError:
            return  # the client went away, or never began
        if self._is_lost or encrypted is None:
            return
        encrypted.set_protocol(self._protocol)
        self._protocol.connection_made(encrypted)
        if self._early:
            self._protocol.data_received(b"".join(self._early))

    def _report(self, transport: asyncio.Transport, error: ssl.SSLError) -> None:
        kind = error.reason or str(error)
        if kind.startswith(_LEFT):
            return
        address = _address(transport)
        for end, reason in _REASONS.items():
            if kind.endswith(end):
                self._on_refused(address, end, reason)
                return
        self._on_refused(address, kind, f"its TLS handshake failed: {kind}")


def _address(transport: asyncio.Transport) -> str:
    return str((transport.get_extra_info("peername") or ("a client",))[0])
