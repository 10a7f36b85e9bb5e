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
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, NoReturn

import h11
import httpx
import uvicorn
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from fl_robot_ros.cloud.admission import Admission, Peer
from fl_robot_ros.cloud.refusal_log import RefusalLog
from fl_robot_ros.cloud.tls_door import PlainDoor, TlsDoor
from fl_robot_ros.config import ServerSettings
from fl_robot_ros.errors import RunFailedError, SettingError

# Flower's Fleet API, every path of it (flwr/supernode/fleet_http_client.py of 1.41).
FLEET_PATHS = frozenset(
    f"/v1/fleet/{name}".encode()
    for name in (
        *("register-node", "activate-node", "deactivate-node", "unregister-node"),
        *("send-node-heartbeat", "pull-messages", "push-messages", "confirm-message-received"),
        *("get-run", "get-fab", "push-object", "pull-object"),
    )
)
# Flower sends arrays in pieces of at most 5 MiB, and apps of at most 10 MB.
MAX_BODY_BYTES = 32 << 20
_TOO_LARGE = f"a request has at most {MAX_BODY_BYTES} bytes"
# A sender may pause so long, and must be so fast on average after that time.
_PAUSE_SEC = 30.0
_MIN_BYTES_PER_SEC = 8192
# From the connection to the end of a request's headers.
_HEADERS_SEC = 20.0
# Of one address, behind which may be a whole fleet.
_MAX_CONNECTIONS_PER_ADDRESS = 256
_MAX_CONNECTIONS = 1024
_KEEP_ALIVE_SEC = 75
# When a silent connection is probed, in s, how often, and how many probes may go without a reply.
_KEEP_ALIVE_PROBES = {socket.TCP_KEEPIDLE: 5, socket.TCP_KEEPINTVL: 5, socket.TCP_KEEPCNT: 4}
# How long the SuperLink may take to reply.
_REPLY_SEC = 120.0
_CONNECT_SEC = 5.0
# How long the port may still be held by the gate of a server that was killed.
_PORT_TIMEOUT_SEC = 5.0
_POLL_SEC = 0.1
_START_SEC = 10.0
_STOP_SEC = 5.0

_HOP_BY_HOP = frozenset(
    (
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te"),
        *("trailer", "transfer-encoding", "upgrade", "host", "expect"),
    )
)

_logger = logging.getLogger(__name__)
_NO_REFUSALS = RefusalLog(_logger.debug)


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
        self._api = _FleetApi(admission)
        http = _behind_door(tls, refusals or _NO_REFUSALS)
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._api,
                http=http,  # type: ignore[arg-type]
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

    def close(self) -> None:
        """Close every connection and end the thread; may be called twice."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(_STOP_SEC)
        self._socket.close()

    def __enter__(self) -> Gate:
        """Return the gate itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close it."""
        self.close()

    async def _serve(self, superlink_port: int) -> None:
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{superlink_port}",
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(_REPLY_SEC, connect=_CONNECT_SEC),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
        ) as client:
            self._api.superlink = client
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


class _FleetApi:
    """The ASGI application: the requests of robots go to the SuperLink, others get a 404."""

    superlink: httpx.AsyncClient

    def __init__(self, admission: Admission | None) -> None:
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await self._respond(request)
            await response(scope, receive, send)
        except (ClientDisconnect, httpx.HTTPError) as error:
            # The reply has begun, or nobody is there to take one.
            _logger.debug("a request of %s broke off: %s", request.client, error)

    async def _respond(self, request: Request) -> Response:
        # The path as it was sent: whatever is spelt in another way is another path.
        path = request.scope.get("raw_path", b"")
        if request.method != "POST" or path not in FLEET_PATHS:
            return PlainTextResponse("this server talks with robots of its fleet only\n", 404)
        if self._admission is not None:
            try:
                own = await self._admission.reply(request, self.superlink)
            except httpx.HTTPError as error:
                return PlainTextResponse(f"the SuperLink does not answer: {error}\n", 503)
            if own is not None:
                return own
        length = request.headers.get("content-length", "")
        if length and (not length.isdecimal() or int(length) > MAX_BODY_BYTES):
            return PlainTextResponse(f"{_TOO_LARGE}\n", 413, {"connection": "close"})
        body = _Body(request)
        try:
            passed = self.superlink.build_request(
                "POST", path.decode(), headers=_end_to_end(request.headers), content=body
            )
            reply = await self.superlink.send(passed, stream=True)
        except httpx.HTTPError as error:
            # Flower's robots try again after a 503.
            unreachable = PlainTextResponse(f"the SuperLink does not answer: {error}\n", 503)
            return body.refusal or unreachable
        return StreamingResponse(
            reply.aiter_raw(),
            reply.status_code,
            _end_to_end(reply.headers),
            background=BackgroundTask(reply.aclose),
        )


class _Body:
    """A request's body as it comes, within the limits of size and time.

    Attributes:
        refusal: The reply to a body that is too large or too slow, None so far.
    """

    def __init__(self, request: Request) -> None:
        self.refusal: Response | None = None
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the body.

        Raises:
            httpx.RequestError: The body is refused.
        """
        began = time.monotonic()
        size = 0
        chunks = self._request.stream()
        while True:
            try:
                chunk = await asyncio.wait_for(anext(chunks), _PAUSE_SEC)
            except StopAsyncIteration:
                return
            except TimeoutError:
                self._refuse(408, "the request comes too slowly")
            size += len(chunk)
            seconds = time.monotonic() - began
            if size > MAX_BODY_BYTES:
                self._refuse(413, _TOO_LARGE)
            elif seconds > _PAUSE_SEC and size < seconds * _MIN_BYTES_PER_SEC:
                self._refuse(408, "the request comes too slowly")
            yield chunk

    def _refuse(self, status: int, reason: str) -> NoReturn:
        self.refusal = PlainTextResponse(f"{reason}\n", status, {"connection": "close"})
        raise httpx.RequestError(reason)


def _end_to_end(headers: httpx.Headers | Any) -> dict[str, str]:
    """Return the headers that concern the ends of a connection through a proxy."""
    return {name: value for name, value in headers.items() if name.lower() not in _HOP_BY_HOP}


def _behind_door(
    context: ssl.SSLContext | None, refusals: RefusalLog
) -> Callable[..., asyncio.Protocol]:
    """Return what makes the protocol of a new connection."""
    if context is None:
        return lambda **options: PlainDoor(_Connection(**options), refusals.add)
    return lambda **options: TlsDoor(context, _Connection(**options), refusals.add)


class _Connection(H11Protocol):
    """A connection that must begin with a request soon; few of them from one address."""

    _by_host: ClassVar[Counter[str]] = Counter()

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
