"""A TCP link on the loopback interface, with the faults of a radio link.

The kernel delays nothing without its module netem; this link needs no module and no root.
"""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from contextlib import suppress

_CHUNK_BYTES = 65536
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER of 0 s: a close tells the other end at once


class Link:
    """Passes what comes to its own port on to another one, and back.

    Attributes:
        port: Its own port.
        sent: All bytes that clients sent.
        breaks: Connections broken so far.
    """

    def __init__(
        self,
        to_port: int,
        *,
        delay_sec: float = 0.0,
        break_chance: float = 0.0,
        seed: int = 0,
        lose: bytes = b"",
    ) -> None:
        """Listen.

        Args:
            to_port: Port that takes the connections at last.
            delay_sec: How long data is on its way, in each direction.
            break_chance: Chance that a connection breaks at a piece of data, 0 to 1.
            seed: Seed of that chance.
            lose: The first piece of data for a client that contains this is lost, and its
                connection breaks.
        """
        self.sent = bytearray()
        self.breaks = 0
        self._to_port = to_port
        self._delay_sec = delay_sec
        self._break_chance = break_chance
        self._random = random.Random(seed)
        self._lose = lose
        self._whole = threading.Event()
        self._whole.set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = int(self._listener.getsockname()[1])
        self._ends: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._serve, daemon=True)]
        self._threads[0].start()

    def cut(self) -> None:
        """Pass nothing from now on, and tell nobody."""
        self._whole.clear()

    def mend(self) -> None:
        """Pass data again, that which came meanwhile first."""
        self._whole.set()

    def __enter__(self) -> Link:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self.mend()
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for end in (*self._ends, self._listener):
            end.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._to_port))
            except OSError:
                client.close()
                continue
            self._ends += (client, server)
            for ends in ((client, server, True), (server, client, False)):
                self._threads.append(threading.Thread(target=self._pass, args=ends, daemon=True))
                self._threads[-1].start()

    def _pass(self, source: socket.socket, sink: socket.socket, is_from_client: bool) -> None:
        # Data that follows closely is on its way together.
        last = 0.0
        try:
            while data := source.recv(_CHUNK_BYTES):
                if is_from_client:
                    self.sent.extend(data)
                if time.monotonic() - last > self._delay_sec:
                    time.sleep(self._delay_sec)
                self._whole.wait()
                is_lost = bool(self._lose) and not is_from_client and self._lose in data
                if is_lost:
                    self._lose = b""
                if is_lost or self._random.random() < self._break_chance:
                    self._break(source, sink)
                    return
                sink.sendall(data)
                last = time.monotonic()
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # one side went away, which the other notices by itself

    def _break(self, *ends: socket.socket) -> None:
        self.breaks += 1
        for end in ends:
            with suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                end.shutdown(socket.SHUT_RDWR)
