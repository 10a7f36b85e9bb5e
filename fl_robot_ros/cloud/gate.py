"""The server's listener on the network: passes the robots' requests to the SuperLink.

A SuperLink serves robots, operators and its own processes on one port, and asks nobody for a
login: whoever reaches that port can start an app of their own as the server's user. So the
SuperLink stays on the loopback interface, and robots reach it through this gate.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from fl_robot_ros.cloud.admission import Admission, Peer
from fl_robot_ros.cloud.fleet_api import FleetApi
from fl_robot_ros.cloud.presence import Presence
from fl_robot_ros.cloud.refusal_log import RefusalLog
from fl_robot_ros.cloud.tls_door import PlainDoor, TlsDoor
from fl_robot_ros.config import ServerSettings
from fl_robot_ros.errors import RunFailedError, SettingError

_logger = logging.getLogger(__name__)

# From the connection to the end of a request's headers.
_HEADERS_SEC = 20.0
# Of one address, behind which may be a whole fleet.
_MAX_CONNECTIONS_PER_ADDRESS = 256
_MAX_CONNECTIONS = 1024
_KEEP_ALIVE_SEC = 75
# When a silent connection is probed, in s, how often, and how many probes may go without a reply.
_KEEP_ALIVE_PROBES = {socket.TCP_KEEPIDLE: 5, socket.TCP_KEEPINTVL: 5, socket.TCP_KEEPCNT: 4}
# How long the port may still be held by the gate of a server that was killed.
_PORT_TIMEOUT_SEC = 5.0
_POLL_SEC = 0.1
_START_SEC = 10.0
_STOP_SEC = 5.0


class Gate:
    """Listens on the server's address and passes the Fleet API on to the SuperLink."""

    def __init__(
        self,
        settings: ServerSettings,
        tls: ssl.SSLContext | None = None,
        admission: Admission | None = None,
        refusals: RefusalLog | None = None,
    ) -> None:
        """Listen; whoever connects waits until `serving`.

        Args:
            settings: Address and port.
            tls: The server's certificate; None for plain HTTP.
            admission: Lets enrolled robots in; None: everybody.
            refusals: Tells the operator of handshakes that failed.

        Raises:
            SettingError: Nobody can listen on the address.
        """
        self._host = settings.host
        self._socket = _listen(settings.host, settings.port)
        self.port = int(self._socket.getsockname()[1])
        refusals = refusals or RefusalLog(_logger.debug)
        self._api = FleetApi(admission, refusals)
        self._tls = tls
        self._refusals = refusals
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._api,
                http=self._connection,  # type: ignore[arg-type]
                ws="none",
                lifespan="off",
                access_log=False,
                log_config=None,
                server_header=False,
                limit_concurrency=_MAX_CONNECTIONS,
                timeout_keep_alive=_KEEP_ALIVE_SEC,
                timeout_graceful_shutdown=1,
            )
        )
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> str:
        """host:port that robots connect to."""
        return f"{self._host}:{self.port}"

    @property
    def presence(self) -> Presence:
        """The robots that are connected."""
        return self._api.presence

    def limit_replies(self, model_bytes: int) -> None:
        """Refuse replies that are larger than a model's weights can be.

        Args:
            model_bytes: Size of the weights; 0: there is no limit.
        """
        self._api.max_reply_bytes = model_bytes and model_bytes + model_bytes // 8 + (1 << 20)

    def close_until(self, moment: float | None) -> None:
        """Send robots away until the next run.

        Args:
            moment: When it begins, as a timestamp in s; None: let robots in.
        """
        self._api.next_run_at = moment

    @property
    def notice_fd(self) -> int:
        """Descriptor of the pipe for the SuperLink's notices."""
        return self._api.board.notice_fd

    @contextmanager
    def serving(self, superlink_port: int) -> Iterator[None]:
        """Pass requests to a SuperLink, in a thread; close the gate at the end.

        Args:
            superlink_port: Port of the SuperLink on 127.0.0.1.

        Raises:
            RunFailedError: The gate does not start.
        """
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(superlink_port)), name="gate", daemon=True
        )
        self._thread.start()
        deadline = time.monotonic() + _START_SEC
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise RunFailedError(f"the server cannot be reached on {self.address}")
            time.sleep(_POLL_SEC / 10)
        try:
            yield
        finally:
            self.close()

    def _connection(self, **options: Any) -> asyncio.Protocol:
        """Return the protocol of a new connection."""
        protocol = _Connection(self._api.presence, **options)
        if self._tls is None:
            return PlainDoor(protocol, self._refusals.add)
        return TlsDoor(self._tls, protocol, self._refusals.add)

    def close(self) -> None:
        """Close every connection and end the thread; may be called twice."""
        self._server.should_exit = True
        self._api.board.release()
        if self._thread is not None:
            self._thread.join(_STOP_SEC)
        self._socket.close()
        self._api.board.close()

    def __enter__(self) -> Gate:
        """Return the gate itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close it."""
        self.close()

    async def _serve(self, superlink_port: int) -> None:
        async with self._api.passing_to(superlink_port):
            await self._server.serve(sockets=[self._socket])


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; a port in use may become free in a moment."""
    end = time.monotonic() + _PORT_TIMEOUT_SEC
    while True:
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            listener = socket.socket(family, kind, protocol)
            try:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                # Connections take it over: that of a robot without power is not open for long.
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                for option, value in _KEEP_ALIVE_PROBES.items():
                    listener.setsockopt(socket.IPPROTO_TCP, option, value)
                listener.bind(address)
                listener.listen(_MAX_CONNECTIONS)
            except OSError:
                listener.close()
                raise
            return listener
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > end:
                raise SettingError(
                    f"cannot listen on host {host!r}, port {port}: {error.strerror or error}; "
                    f"choose another, or stop the program that uses it"
                ) from error
        time.sleep(_POLL_SEC)


class _Connection(H11Protocol):
    """A connection that must begin with a request soon; few of them from one address."""

    _by_host: ClassVar[Counter[str]] = Counter()

    def __init__(self, presence: Presence, **options: Any) -> None:
        super().__init__(**options)
        self._presence = presence

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._identity = Peer()
        self.app_state = {**self.app_state, "peer": self._identity}
        peer = transport.get_extra_info("peername")
        self._peer = str(peer[0]) if peer else ""
        self._by_host[self._peer] += 1
        if self._by_host[self._peer] > _MAX_CONNECTIONS_PER_ADDRESS:
            transport.abort()
            return
        self._deadline = self.loop.call_later(_HEADERS_SEC, self._close_idle)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.client is not None:
            self._presence.closed(self.client)
        self._identity.is_open = False
        self._by_host[self._peer] -= 1
        if not self._by_host[self._peer]:
            del self._by_host[self._peer]

    def on_response_complete(self) -> None:
        # A refused body is not listened to any longer.
        if self.conn.their_state is h11.SEND_BODY:
            self.transport.close()
        super().on_response_complete()

    def _close_idle(self) -> None:
        if getattr(self, "cycle", None) is None:
            self.transport.abort()
