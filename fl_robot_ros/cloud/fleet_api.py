"""What the gate does with a request: the Fleet API goes on to the SuperLink, all else is refused.

A request is read as a whole, within limits of size and time, before the SuperLink hears of it: a
slow robot takes none of its time. Most polls, and objects that are for several robots, are
answered here.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from fl_robot_ros.cloud.admission import Admission
from fl_robot_ros.cloud.object_cache import ObjectCache
from fl_robot_ros.cloud.poll_board import PollBoard
from fl_robot_ros.cloud.presence import Presence
from fl_robot_ros.cloud.refusal_log import RefusalLog
from fl_robot_ros.cloud.repeated_requests import RepeatedRequests
from fl_robot_ros.cloud.schedule import describe_moment

PULL_MESSAGES = b"/v1/fleet/pull-messages"
PULL_OBJECT = b"/v1/fleet/pull-object"
CONFIRM = b"/v1/fleet/confirm-message-received"
PUSH_MESSAGES = b"/v1/fleet/push-messages"
PUSH_OBJECT = b"/v1/fleet/push-object"
# Flower's Fleet API, every path of it (flwr/supernode/fleet_http_client.py of 1.41 and 1.42).
FLEET_PATHS = frozenset(
    (
        *(PULL_MESSAGES, PULL_OBJECT, PUSH_MESSAGES, PUSH_OBJECT),
        *(b"/v1/fleet/register-node", b"/v1/fleet/activate-node", b"/v1/fleet/deactivate-node"),
        *(b"/v1/fleet/unregister-node", b"/v1/fleet/send-node-heartbeat", b"/v1/fleet/get-run"),
        *(b"/v1/fleet/get-fab", CONFIRM),
    )
)
# Flower sends arrays in pieces of at most 5 MiB.
MAX_BODY_BYTES = 8 << 20
# Of all requests that are being read.
_MAX_BUFFERED_BYTES = 512 << 20
# A sender may pause so long, and must be so fast on average after that time.
_PAUSE_SEC = 30.0
_MIN_BYTES_PER_SEC = 8192
# How long the SuperLink may take to reply, and how many requests it gets at once: more would wait
# in a queue whose upkeep costs more than they do.
_REPLY_SEC = 120.0
_CONNECT_SEC = 5.0
_MAX_AT_ONCE = 16
_MAX_ROBOTS = 10_000

# What a robot may ask while no run is on: to sign off.
_SIGN_OFF = frozenset((b"/v1/fleet/deactivate-node", b"/v1/fleet/unregister-node"))
_ADMITTED, _TOO_EARLY = 204, 425
# A robot that comes at the moment itself, before the gate opens, is told to come again too.
_SOONEST_SEC = 1.0

_PROTOBUF = "application/protobuf"
_HOP_BY_HOP = frozenset(
    (
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te"),
        *("trailer", "transfer-encoding", "upgrade", "host", "expect"),
        # Bodies are whole here, and replies are read.
        *("content-length", "content-encoding", "accept-encoding"),
    )
)

_logger = logging.getLogger(__name__)


class FleetApi:
    """The gate's ASGI application.

    Attributes:
        board: The robots that wait for a message.
        presence: The robots that are connected.
        max_reply_bytes: Largest reply of a robot as a whole, 0: no limit.
        next_run_at: When the next run begins, as a timestamp in s; None: robots are let in now.
    """

    def __init__(self, admission: Admission | None, refusals: RefusalLog) -> None:
        """Pass nothing on yet.

        Args:
            admission: Lets enrolled robots in; None: everybody.
            refusals: Tells the operator of replies that are too large.
        """
        self._admission = admission
        self._refusals = refusals
        self._objects = ObjectCache()
        self._polls = RepeatedRequests()
        self._announcements = RepeatedRequests()
        self.board = PollBoard(self._forget)
        self.presence = Presence()
        self.max_reply_bytes = 0
        self.next_run_at: float | None = None
        self._buffered = 0
        # Sizes of the parts of each robot's reply, by the hash of a part: some come twice.
        self._reply_parts: OrderedDict[bytes, dict[int, int]] = OrderedDict()

    @asynccontextmanager
    async def passing_to(self, port: int) -> AsyncIterator[None]:
        """Pass requests to a SuperLink, from the event loop that this is called in.

        Args:
            port: The SuperLink's port on 127.0.0.1.
        """
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}",
            headers={"accept-encoding": "identity"},
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(_REPLY_SEC, connect=_CONNECT_SEC),
            limits=httpx.Limits(max_connections=_MAX_AT_ONCE),
        ) as self._superlink:
            self._turn = asyncio.Semaphore(_MAX_AT_ONCE)
            self.board.start()
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        request = Request(scope, receive)
        try:
            response = await self._respond(request)
            await response(scope, receive, send)
        except ClientDisconnect:
            _logger.debug("a request of %s broke off", request.client)

    async def _respond(self, request: Request) -> Response:
        # The path as it was sent: whatever is spelt in another way is another path.
        path = request.scope.get("raw_path", b"")
        if request.method != "POST" or path not in FLEET_PATHS:
            return PlainTextResponse("this server talks with robots of its fleet only\n", 404)
        try:
            own = None
            if self._admission is not None:
                own = await self._admission.reply(request, self._superlink)
            is_refused = own is not None and own.status_code != _ADMITTED
            if self.next_run_at is not None and path not in _SIGN_OFF and not is_refused:
                return _too_early(self.next_run_at)
            if own is not None:
                return own
            key = _public_key(request)
            if key and request.client is not None:
                self.presence.heard(key, (request.client.host, request.client.port))
            body = await self._read(request)
            if isinstance(body, Response):
                return body
            if path == PULL_MESSAGES:
                return await self._poll(request, key, body)
            if path == PULL_OBJECT:
                return await self._object(request, body)
            if path == CONFIRM:
                self._polls.confirm(key)
            elif path == PUSH_MESSAGES:
                return await self._announcement(request, key, body)
            elif path == PUSH_OBJECT:
                self._announcements.confirm(key)
                if self._is_too_large(key, body):
                    return self._refuse_large(request)
            return await self._pass_on(request, body)
        except httpx.HTTPError as error:
            # Flower's robots try again after a 503.
            return PlainTextResponse(f"the SuperLink does not answer: {error}\n", 503)

    async def _announcement(self, request: Request, key: bytes, body: bytes) -> Response:
        """Announce a robot's reply to the SuperLink, once."""
        again = self._announcements.again(key, body)
        if again is not None:
            return Response(again, media_type=_PROTOBUF)
        self._reply_parts[key] = {}
        reply = await self._pass_on(request, body)
        if reply.status_code == httpx.codes.OK:
            self._announcements.keep(key, body, bytes(reply.body))
        return reply

    def _is_too_large(self, key: bytes, body: bytes) -> bool:
        """Take a part of a robot's reply; return whether the reply is too large by now."""
        parts = self._reply_parts.setdefault(key, {})
        parts[hash(body)] = len(body)
        self._reply_parts.move_to_end(key)
        if len(self._reply_parts) > _MAX_ROBOTS:
            self._reply_parts.popitem(last=False)
        return 0 < self.max_reply_bytes < sum(parts.values())

    def _refuse_large(self, request: Request) -> Response:
        most = self.max_reply_bytes
        reason = f"a reply has at most {most} bytes in this run, which is the model and some more"
        self._refusals.add(request.client.host if request.client else "a robot", "large", reason)
        return _refusal(413, reason)

    def _forget(self) -> None:
        """Forget what an earlier SuperLink gave away."""
        self._objects.clear()
        self._polls.clear()
        self._announcements.clear()

    async def _poll(self, request: Request, key: bytes, body: bytes) -> Response:
        """Return the next message for a robot; after some seconds without one an empty reply."""
        again = self._polls.again(key, body)
        if again is not None:
            return Response(again, media_type=_PROTOBUF)
        if not await self.board.may_have_message(body):
            return Response(b"", media_type=_PROTOBUF)
        changes = self.board.changes
        reply = await self._pass_on(request, body)
        if reply.status_code == httpx.codes.OK:
            if reply.body:
                self._polls.keep(key, body, bytes(reply.body))
            else:
                self.board.tell_nothing(body, changes)
        return reply

    async def _object(self, request: Request, body: bytes) -> Response:
        """Return an object: as another robot got it, or of the SuperLink."""
        key = ObjectCache.key(body)
        if key is None:
            return await self._pass_on(request, body)  # the SuperLink says what is wrong
        known = await self._objects.get(key)
        if known is not None:
            return Response(known, media_type=_PROTOBUF)
        fetched = None
        try:
            reply = await self._pass_on(request, body)
            if reply.status_code == httpx.codes.OK:
                fetched = bytes(reply.body)
            return reply
        finally:
            self._objects.put(key, fetched)

    async def _pass_on(self, request: Request, body: bytes) -> Response:
        """Return the SuperLink's reply to a request.

        Raises:
            httpx.HTTPError: There is none.
        """
        async with self._turn:
            reply = await self._superlink.post(
                request.url.path, content=body, headers=_end_to_end(request.headers)
            )
        return Response(reply.content, reply.status_code, _end_to_end(reply.headers))

    async def _read(self, request: Request) -> bytes | Response:
        """Return the body of a request, or the refusal of one that is too large or too slow."""
        length = request.headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
            return _refusal(413, f"a request has at most {MAX_BODY_BYTES} bytes")
        began = time.monotonic()
        chunks = request.stream()
        content: list[bytes] = []
        size = 0
        try:
            while True:
                try:
                    chunk = await asyncio.wait_for(anext(chunks), _PAUSE_SEC)
                except StopAsyncIteration:
                    return b"".join(content)
                except TimeoutError:
                    return _refusal(408, "the request comes too slowly")
                content.append(chunk)
                size += len(chunk)
                self._buffered += len(chunk)
                seconds = time.monotonic() - began
                if size > MAX_BODY_BYTES:
                    return _refusal(413, f"a request has at most {MAX_BODY_BYTES} bytes")
                if self._buffered > _MAX_BUFFERED_BYTES:
                    return _refusal(503, "too many requests at once; come again")
                if seconds > _PAUSE_SEC and size < seconds * _MIN_BYTES_PER_SEC:
                    return _refusal(408, "the request comes too slowly")
        finally:
            self._buffered -= size


def _public_key(request: Request) -> bytes:
    """Return the public key that a robot says is its own; empty without one."""
    try:
        return base64.b64decode(request.headers.get(FLEET_HTTP_PUBLIC_KEY_HEADER, ""))
    except binascii.Error:
        return b""


def _refusal(status: int, reason: str) -> Response:
    """Return a reply after which the connection is closed."""
    return PlainTextResponse(f"{reason}\n", status, {"connection": "close"})


def _too_early(next_run_at: float) -> Response:
    """Return the refusal of a robot that comes between two runs, with the time of the next."""
    left_sec = max(next_run_at - time.time(), _SOONEST_SEC)
    detail = f"no run is on; the next one begins {describe_moment(next_run_at, time.time())}"
    content = {"code": _TOO_EARLY, "detail": detail, "come_back_sec": left_sec}
    headers = {"connection": "close", "retry-after": str(math.ceil(left_sec))}
    return JSONResponse(content, _TOO_EARLY, headers)


def _end_to_end(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that concern the ends of a connection through a proxy."""
    return {name: text for name, text in headers.items() if name.lower() not in _HOP_BY_HOP}
