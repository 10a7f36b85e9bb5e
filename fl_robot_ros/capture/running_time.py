"""A time line for labels and frames that goes on where the clock is set back."""

from __future__ import annotations


class RunningTime:
    """Time by a clock that may be set back, as if it had stood still instead.

    The messages of one topic come in the order of their times, those of several topics only
    nearly so, or even topic by topic. A topic whose time jumps back means that the clock was set
    back: time continues after the newest, so the current label stays in force and older labels
    do not come back. Callers with access to the clock report smaller steps by `set_back`.

    Attributes:
        newest_ns: The latest time so far, in ns; 0 before the first.
    """

    def __init__(self, disorder_ns: int) -> None:
        """Begin.

        Args:
            disorder_ns: How far the times of one topic may go back while the clock goes on, in ns.
        """
        self.newest_ns = 0
        self._disorder_ns = disorder_ns
        self._behind_ns = 0
        self._is_set_back = False
        self._newest_by_topic: dict[str, int] = {}

    def set_back(self) -> None:
        """Note that the clock was set back, by however little, before the next message."""
        self._is_set_back = True

    def at(self, topic: str, clock_ns: int) -> int:
        """Return the time of a message in ns; call it once for each, in order of arrival.

        Args:
            topic: Name of its topic.
            clock_ns: Its time by the clock, in ns.
        """
        newest_ns = self._newest_by_topic.get(topic, clock_ns)
        if self._is_set_back or clock_ns < newest_ns - self._disorder_ns:
            self._is_set_back = False
            # Later than everything before, whose labels stay as they are.
            self._behind_ns = self.newest_ns + 1 - clock_ns
            self._newest_by_topic.clear()
            newest_ns = clock_ns
        self._newest_by_topic[topic] = max(clock_ns, newest_ns)
        time_ns = clock_ns + self._behind_ns
        self.newest_ns = max(self.newest_ns, time_ns)
        return time_ns
