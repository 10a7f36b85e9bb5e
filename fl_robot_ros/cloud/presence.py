"""Which robots are connected, as the gate sees it.

The SuperLink takes a robot for connected until its heartbeats have been missing for a minute. The
gate sees at once that the last connection of a robot has ended, as after a kill of its process.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

Connection = tuple[str, int]
_MAX_ROBOTS = 10_000


class Presence:
    """The connections of each robot. Any thread may call."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """Know nobody yet.

        Args:
            clock: Returns the time in s since 1970.
        """
        self._clock = clock
        self._lock = threading.Lock()
        self._connections: OrderedDict[bytes, set[Connection]] = OrderedDict()
        self._keys: dict[Connection, bytes] = {}
        self._absent: dict[bytes, float] = {}

    def heard(self, key: bytes, connection: Connection) -> None:
        """Note a request.

        Args:
            key: The robot's public key.
            connection: The other end's address and port.
        """
        with self._lock:
            if self._keys.get(connection) == key:
                return
            self._forget(connection)
            self._keys[connection] = key
            self._connections.setdefault(key, set()).add(connection)
            self._absent.pop(key, None)
            if len(self._connections) > _MAX_ROBOTS:
                oldest, ends = self._connections.popitem(last=False)
                self._absent.pop(oldest, None)
                for end in ends:
                    del self._keys[end]

    def closed(self, connection: Connection) -> None:
        """Note the end of a connection."""
        with self._lock:
            self._forget(connection)

    def _forget(self, connection: Connection) -> None:
        key = self._keys.pop(connection, None)
        if key is not None:
            ends = self._connections[key]
            ends.discard(connection)
            if not ends:
                self._absent[key] = self._clock()

    def absent(self) -> dict[bytes, float]:
        """Return the robots without a connection, by public key, with the time of its end."""
        with self._lock:
            return dict(self._absent)
