"""Requests to the Fleet API that end in time, whatever the server does.

Flower's own client follows redirects, reads a reply of any size, and takes a byte every few
seconds for progress.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import secrets
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import CancelledError
from typing import Any, TypeVar

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.common.constant import TIMESTAMP_HEADER
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER
from flwr.supercore.date import now
from flwr.supercore.primitives.asymmetric import public_key_to_bytes, sign_message
from flwr.supercore.protobuf.constants import PROTOBUF_MEDIA_TYPE
from flwr.supercore.runtime_version_compatibility import RuntimeVersionMetadata
from google.protobuf.message import DecodeError, Message

from fl_robot_ros.errors import RequestRefusedError, ServerUnreachableError
from fl_robot_ros.identity.enrolment import PROCESS_HEADER
from fl_robot_ros.one_line import one_line
from fl_robot_ros.worker.come_back import TOO_EARLY, no_run

Keys = tuple[ec.EllipticCurvePrivateKey, ec.EllipticCurvePublicKey]
ResponseT = TypeVar("ResponseT", bound=Message)
T = TypeVar("T")

# Flower sends arrays in pieces of at most 5 MiB. The gate has the same limit.
MAX_REPLY_BYTES = 8 << 20
_MAX_REASON_BYTES = 64 << 10
# Longest time without a byte in either direction, and the average speed after that time.
_PAUSE_SEC = 30.0
_MIN_BYTES_PER_SEC = 8192
_PIECE_BYTES = 64 << 10
# The request came too slowly, there are too many, or the SuperLink is not there now.
_TRY_AGAIN = frozenset((408, 429, 500, 502, 503, 504))
_FIRST_RETRY_SEC = 0.1
_MAX_RETRY_SEC = 2.0
_CLOSE_SEC = 1.0

_logger = logging.getLogger(__name__)


class FleetClient:
    """Sends requests; all methods may be called from any thread."""

    def __init__(
        self,
        server_address: str,
        *,
        keys: Keys,
        tls: ssl.SSLContext | None,
        server_timeout_sec: float,
        pause_sec: float = _PAUSE_SEC,
    ) -> None:
        """Send nothing yet.

        Args:
            server_address: host:port.
            keys: The robot's key pair, which signs every request.
            tls: The trusted certificates; None for plain HTTP.
            server_timeout_sec: How long to repeat a request while the server is away.
            pause_sec: Longest time without progress of one request.
        """
        self.server_address = server_address
        self._private_key, public_key = keys
        self.public_key = public_key_to_bytes(public_key)
        self._server_timeout_sec = server_timeout_sec
        self._process = secrets.token_hex(8)
        self._pause_sec = pause_sec
        self._url = f"{'https' if tls else 'http'}://{server_address}/v1/fleet/"
        self._version = dict(
            RuntimeVersionMetadata.from_local_component("SuperNode").as_metadata()
        )
        # An environment variable of a proxy is not meant for a robot's server.
        self._http = httpx.AsyncClient(
            verify=tls or False, timeout=None, follow_redirects=False, trust_env=False
        )
        self._posts: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="requests", daemon=True
        )
        self._thread.start()

    def call(
        self,
        path: str,
        request: Message,
        response: ResponseT,
        *,
        within_sec: float | None = None,
    ) -> ResponseT:
        """Send a request until there is a reply, and return the reply.

        Args:
            path: Last part of the path.
            request: The request.
            response: An empty reply, which is filled in.
            within_sec: Time for everything; None: as long as the server may be away, and then
                as long as a request takes.

        Raises:
            RequestRefusedError: The server refuses the request.
            NoRunError: The server has no run now.
            ServerUnreachableError: There was no valid reply in time.
        """
        content = request.SerializeToString(deterministic=True)
        patience = self._server_timeout_sec if within_sec is None else within_sec
        end = time.monotonic() + patience
        retry_sec = _FIRST_RETRY_SEC
        is_first = True
        while True:
            try:
                left = None if within_sec is None else max(0.0, end - time.monotonic())
                response.ParseFromString(self._run(self._post(path, content), left))
                if not is_first:
                    _logger.info("the server at %s replies again", self.server_address)
                return response
            except RequestRefusedError as error:
                if error.status not in _TRY_AGAIN:
                    raise
                reason = str(error)
            except DecodeError as error:
                raise self._lost("its reply is no message of Flower") from error
            except (httpx.TransportError, TimeoutError) as error:
                reason = one_line(str(error)) or "no reply in time"
                if _is_about_tls(error):
                    raise self._lost(reason) from error
            if time.monotonic() + retry_sec >= end:
                raise self._lost(reason)
            if is_first:
                _logger.warning("the server at %s is away: %s", self.server_address, reason)
            is_first = False
            time.sleep(retry_sec)
            retry_sec = min(2 * retry_sec, _MAX_RETRY_SEC) * random.uniform(0.8, 1.0)

    def close(self) -> None:
        """Close the connections; requests in progress fail."""
        try:
            self._run(self._shut(), _CLOSE_SEC)
        except (httpx.TransportError, TimeoutError, ServerUnreachableError) as error:
            _logger.debug("the connections were not closed: %s", error)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CLOSE_SEC)
        if not self._thread.is_alive():
            self._loop.close()

    def _lost(self, reason: str) -> ServerUnreachableError:
        return ServerUnreachableError(f"lost the server at {self.server_address}: {reason}")

    def _run(self, work: Coroutine[None, None, T], timeout_sec: float | None) -> T:
        if self._loop.is_closed():
            work.close()
            raise self._lost("the connection is closed")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout_sec)
        except TimeoutError:
            future.cancel()
            raise
        except CancelledError as error:
            raise self._lost("the connection is closed") from error

    async def _shut(self) -> None:
        # Not all tasks of the loop: those of the libraries below are cancelled by them.
        for post in self._posts:
            post.cancel()
        await asyncio.gather(*self._posts, return_exceptions=True)
        await self._http.aclose()

    async def _post(self, path: str, content: bytes) -> bytes:
        """Send a request once; return the body of the reply.

        Raises:
            RequestRefusedError: The reply has another status than 200.
            ServerUnreachableError: The reply is too large.
            TimeoutError: The server is too slow.
            httpx.TransportError: The connection breaks.
        """
        post = asyncio.current_task()
        assert post
        self._posts.add(post)
        try:
            async with asyncio.timeout(None) as timeout:
                progress = _Progress(timeout, self._pause_sec)
                request = self._http.build_request(
                    "POST",
                    self._url + path,
                    content=_in_pieces(content, progress),
                    headers=self._headers(len(content)),
                )
                response = await self._http.send(request, stream=True)
                try:
                    progress.add(0)
                    return await self._read(response, progress)
                finally:
                    await response.aclose()
        except TimeoutError as error:
            raise TimeoutError(f"no reply, or one that is too slow, to {path}") from error
        finally:
            self._posts.discard(post)

    async def _read(self, response: httpx.Response, progress: _Progress) -> bytes:
        body = bytearray()
        status = response.status_code
        most = MAX_REPLY_BYTES if status == httpx.codes.OK else _MAX_REASON_BYTES
        async for piece in response.aiter_raw():
            progress.add(len(piece))
            body += piece
            if len(body) > most:
                if status != httpx.codes.OK:
                    break
                raise self._lost(f"its reply is larger than {most >> 20} MiB")
        if response.is_redirect:
            target = one_line(response.headers.get("location", ""), 200)
            raise RequestRefusedError(
                f"the server at {self.server_address} redirects to {target!r}; a robot follows no "
                "redirect",
                status,
            )
        if status == TOO_EARLY:
            raise no_run(self.server_address, body.decode(errors="replace"))
        if status != httpx.codes.OK:
            raise RequestRefusedError(
                f"the server at {self.server_address} refuses with HTTP {status}: "
                f"{_reason(bytes(body)) or response.reason_phrase}",
                status,
            )
        return bytes(body)

    def _headers(self, content_length: int) -> dict[str, str]:
        timestamp = now().isoformat()
        signature = sign_message(self._private_key, timestamp.encode("ascii"))
        return {
            "content-type": PROTOBUF_MEDIA_TYPE,
            "content-length": str(content_length),
            "accept": PROTOBUF_MEDIA_TYPE,
            "accept-encoding": "identity",
            FLEET_HTTP_PUBLIC_KEY_HEADER: b64encode(self.public_key).decode("ascii"),
            TIMESTAMP_HEADER: timestamp,
            FLEET_HTTP_SIGNATURE_HEADER: b64encode(signature).decode("ascii"),
            PROCESS_HEADER: self._process,
            **self._version,
        }


class _Progress:
    """Moves the deadline of a request with the bytes that it sends and receives."""

    def __init__(self, timeout: asyncio.Timeout, pause_sec: float) -> None:
        self._timeout = timeout
        self._pause_sec = pause_sec
        self._start_sec = asyncio.get_running_loop().time()
        self._num_bytes = 0
        self.add(0)

    def add(self, num_bytes: int) -> None:
        self._num_bytes += num_bytes
        now_sec = asyncio.get_running_loop().time()
        slowest_sec = self._start_sec + self._num_bytes / _MIN_BYTES_PER_SEC
        self._timeout.reschedule(min(now_sec, slowest_sec) + self._pause_sec)


async def _in_pieces(content: bytes, progress: _Progress) -> AsyncIterator[bytes]:
    for start in range(0, len(content), _PIECE_BYTES):
        piece = content[start : start + _PIECE_BYTES]
        yield piece
        progress.add(len(piece))


def _is_about_tls(error: BaseException | None) -> bool:
    """Return whether an error comes from TLS: to try again would not help."""
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _reason(body: bytes) -> str:
    """Return the reason in the body of a refusal, which is Flower's JSON or plain text."""
    text = body.decode(errors="replace")
    try:
        return one_line(str(json.loads(text)["detail"]), 300)
    except (ValueError, LookupError, TypeError, RecursionError):
        return one_line(text, 300)
