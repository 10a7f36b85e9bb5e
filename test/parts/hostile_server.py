"""A server on the loopback interface that does to each connection what a test says."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Act = Callable[[socket.socket], None]


@contextmanager
def hostile_server(act: Act) -> Iterator[int]:
    """Serve until the end, each connection in a thread; yield the port.

    Args:
        act: Is given a connection whose first bytes were read; may block until the other side
            goes away. It is closed afterwards.
    """
    ends: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def serve_one(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            if connection.recv(65536):
                act(connection)

    def serve(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                ends.append(connection)
                threads.append(threading.Thread(target=serve_one, args=(connection,), daemon=True))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        acceptor = threading.Thread(target=serve, args=(listener,), daemon=True)
        acceptor.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            acceptor.join()
            for end in ends:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


def stall(connection: socket.socket) -> None:
    """Never reply."""
    while connection.recv(65536):
        pass


def drip(connection: socket.socket) -> None:
    """Send a byte of a reply now and then, without end."""
    stopped = threading.Event()
    while not stopped.wait(0.05):
        connection.sendall(b"H")


def drip_body(connection: socket.socket) -> None:
    """Send a reply without end, a byte at a time."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    drip(connection)


def flood(connection: socket.socket) -> None:
    """Send a reply without end, as fast as it goes."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(bytes(1 << 20))


def redirect_to(location: str) -> Act:
    """Return what sends every request to another place."""

    def act(connection: socket.socket) -> None:
        head = f"HTTP/1.1 307 Temporary Redirect\r\nLocation: {location}\r\n"
        connection.sendall(f"{head}Content-Length: 0\r\n\r\n".encode())

    return act


def refuse(status: int, body: bytes) -> Act:
    """Return what refuses every request."""

    def act(connection: socket.socket) -> None:
        head = f"HTTP/1.1 {status} No\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode() + body)

    return act
