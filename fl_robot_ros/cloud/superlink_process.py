"""The SuperLink's process: Flower's own program with three changes.

It serves its own user alone: a SuperLink asks nobody for a login, and the loopback interface is
open to every user of the machine. Linux knows whose each connection is.

It tells the gate when there may be new messages for robots, so that robots need not ask it.

Requests of robots and of the ServerApp skip Flower's layers for the operators' API, which do
nothing for them and take a third of the time.
"""

from __future__ import annotations

import copy
import os
import socket
import sys
from pathlib import Path
from typing import Any

import uvicorn
from flwr.superlink.cli.flower_superlink import flower_superlink
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from fl_robot_ros.cloud.superlink import CHANGED, NOTICE_FD, STARTED

_MESSAGES = ("/v1/fleet/", "/v1/runtime/")
_CHANGES = frozenset(("/v1/runtime/push-messages", "/v1/runtime/push-object"))
_OPERATORS = ("Control", "EventLog", "Tracing")

# As in the kernel's Documentation/networking/proc_net_tcp.rst.
_CONNECTIONS = Path("/proc/net/tcp")


def owner_of(client: tuple[str, int], server: tuple[str, int]) -> int | None:
    """Return the user that a local IPv4 connection's other end belongs to, None if it is gone.

    Args:
        client: Address and port of the end that connected.
        server: Address and port of the end that listened.
    """
    ends = [_hexadecimal(client), _hexadecimal(server)]
    for line in _CONNECTIONS.read_text(encoding="ascii").splitlines()[1:]:
        # Number, local end, remote end, state, queues, timer, retransmits, user.
        fields = line.split()
        if fields[1:3] == ends:
            return int(fields[7])
    return None


class OwnUserProtocol(HttpToolsProtocol):
    """HTTP for connections of this process's user and of root; others are closed at once."""

    def connection_made(self, transport: Any) -> None:
        """Take a connection, or close it."""
        super().connection_made(transport)
        ends = (transport.get_extra_info(name)[:2] for name in ("peername", "sockname"))
        if owner_of(*ends) not in (os.geteuid(), 0):
            transport.abort()


class MessageApi:
    """Flower's ASGI application, with a shorter way for the messages of runs."""

    def __init__(self, app: Any, notice_fd: int | None) -> None:
        """Take the application.

        Args:
            app: Flower's FastAPI application.
            notice_fd: Descriptor of a pipe to the gate, None without one.
        """
        self._app = app
        self._notice_fd = notice_fd
        self._short = copy.copy(app)
        self._short.middleware_stack = None  # is built of `user_middleware` at the first request
        self._short.user_middleware = [
            layer
            for layer in app.user_middleware
            if not any(name in layer.cls.__name__ for name in _OPERATORS)
        ]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Handle one request, or the application's start and end."""
        path = scope.get("path", "")
        if scope["type"] == "lifespan":

            async def send_and_tell(message: Any) -> None:
                await send(message)
                if message["type"] == "lifespan.startup.complete":
                    self._tell(STARTED)

            await self._app(scope, receive, send_and_tell)
        elif path.startswith(_MESSAGES):
            await self._short(scope, receive, send)
            if path in _CHANGES:
                self._tell(CHANGED)
        else:
            await self._app(scope, receive, send)

    def _tell(self, notice: bytes) -> None:
        if self._notice_fd is not None:
            try:
                os.write(self._notice_fd, notice)
            except BlockingIOError:
                pass  # the gate has many notices to read


def main() -> None:
    """Run `flower-superlink` with the arguments of this process."""
    serve = uvicorn.run
    text = os.environ.pop(NOTICE_FD, "")
    notice_fd = int(text) if text else None

    def serve_own_user(app: Any, **options: Any) -> None:
        options |= {"http": OwnUserProtocol, "access_log": False}
        serve(MessageApi(app, notice_fd), **options)

    uvicorn.run = serve_own_user
    flower_superlink()


def _hexadecimal(end: tuple[str, int]) -> str:
    """Return an address and a port as the kernel writes them: the bytes as one number."""
    return f"{int.from_bytes(socket.inet_aton(end[0]), sys.byteorder):08X}:{end[1]:04X}"


if __name__ == "__main__":
    main()
