"""The SuperLink's process: Flower's own program, which serves its own user alone.

A SuperLink asks nobody for a login, and the loopback interface is open to every user of the
machine. Linux knows whose each connection is.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Any

import uvicorn
from flwr.superlink.cli.flower_superlink import flower_superlink
from uvicorn.protocols.http.h11_impl import H11Protocol

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


class OwnUserProtocol(H11Protocol):
    """HTTP for connections of this process's user and of root; others are closed at once."""

    def connection_made(self, transport: Any) -> None:
        """Take a connection, or close it."""
        super().connection_made(transport)
        ends = (transport.get_extra_info(name)[:2] for name in ("peername", "sockname"))
        if owner_of(*ends) not in (os.geteuid(), 0):
            transport.abort()


def main() -> None:
    """Run `flower-superlink` with the arguments of this process."""
    serve = uvicorn.run

    def serve_own_user(app: Any, **options: Any) -> None:
        serve(app, **{**options, "http": OwnUserProtocol})

    uvicorn.run = serve_own_user
    flower_superlink()


def _hexadecimal(end: tuple[str, int]) -> str:
    """Return an address and a port as the kernel writes them: the bytes as one number."""
    return f"{int.from_bytes(socket.inet_aton(end[0]), sys.byteorder):08X}:{end[1]:04X}"


if __name__ == "__main__":
    main()
