"""The newest items of several sources, taken in turn by one thread."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")


class WaitingItems(Generic[ItemT]):
    """Owns a short queue for each source; an item too many replaces the oldest of its source.

    Attributes:
        dropped: Items that were replaced before anybody took them, by source.
    """

    def __init__(self, sources: int, size: int = 1) -> None:
        """Start with empty queues.

        Args:
            sources: Number of sources, 1 or more.
            size: Items of one source that may wait, 1 or more.
        """
        self.dropped = [0] * sources
        self._queues: list[deque[ItemT]] = [deque(maxlen=size) for _ in range(sources)]
        self._condition = threading.Condition()
        self._next = 0
        self._is_woken = False
        self._is_closed = False

    @property
    def is_closed(self) -> bool:
        """Whether nothing is given out any more."""
        return self._is_closed

    def offer(self, source: int, item: ItemT) -> None:
        """Add the newest item of a source; returns at once."""
        with self._condition:
            queue = self._queues[source]
            self.dropped[source] += len(queue) == queue.maxlen
            queue.append(item)
            self._condition.notify()

    def take(self) -> tuple[int, ItemT] | None:
        """Wait for an item; return its source and the item, or None after `wake` or `close`.

        Sources take turns, so that a fast one does not hold up the others.
        """
        with self._condition:
            self._condition.wait_for(
                lambda: self._is_closed or self._is_woken or any(self._queues)
            )
            if self._is_closed or self._is_woken:
                self._is_woken = False
                return None
            count = len(self._queues)
            turns = [(self._next + step) % count for step in range(count)]
            source = next(turn for turn in turns if self._queues[turn])
            self._next = source + 1
            return source, self._queues[source].popleft()

    def wake(self) -> None:
        """Let one `take` return without an item."""
        with self._condition:
            self._is_woken = True
            self._condition.notify()

    def close(self) -> None:
        """Let every `take` return without an item, now and later."""
        with self._condition:
            self._is_closed = True
            self._condition.notify_all()
