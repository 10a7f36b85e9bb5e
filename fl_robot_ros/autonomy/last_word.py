"""Whether the publisher of a latched topic's newest message still lives."""

from __future__ import annotations

import math

# A message may come before the graph shows its publisher, by less than a second, and the next look
# at the graph half a second later.
_GRAPH_LAG_SEC = 1.5


class LastWord:
    """Follows who can have sent the newest message, which the middleware does not tell.

    Those are the publishers that lived when it came, and those that show soon after. A
    publisher that starts again is another one.

    Attributes:
        publishers: The publishers that live, told apart by any value.
    """

    def __init__(self) -> None:
        """Start without publishers and messages."""
        self.publishers: frozenset[object] = frozenset()
        self._senders: frozenset[object] = frozenset()
        self._heard_at = -math.inf

    @property
    def is_heard(self) -> bool:
        """Whether one that may have sent the newest message lives."""
        return bool(self._senders & self.publishers)

    def is_lost(self, now: float) -> bool:
        """Say whether none of them lives any more, at a monotonic time in s."""
        return not self.is_heard and now - self._heard_at >= _GRAPH_LAG_SEC

    def see(self, publishers: frozenset[object], now: float) -> None:
        """Take the publishers that the graph shows at a monotonic time in s."""
        if now - self._heard_at < _GRAPH_LAG_SEC:
            self._senders |= publishers
        self.publishers = publishers

    def hear(self, now: float) -> None:
        """Take the arrival of a message at a monotonic time in s, after a look at the graph."""
        self._heard_at = now
        self._senders = self.publishers
