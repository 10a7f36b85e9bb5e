"""What the robot's own software says on a topic of std_msgs/Bool."""

from __future__ import annotations

import math

from fl_robot_ros.autonomy.last_word import LastWord
from fl_robot_ros.autonomy.reading import Reading


class Permission:
    """Follows one topic: true where learning is fine.

    The value of a latched publisher holds while the publisher lives; any other must be repeated.
    """

    def __init__(self, topic: str, timeout_sec: float) -> None:
        """Know nothing yet; a value that is not latched holds for `timeout_sec`."""
        self._topic = topic
        self._timeout_sec = timeout_sec
        self._last_word = LastWord()
        self._is_latched = False
        self._said: bool | None = None
        self._heard_at = -math.inf
        self._true_since = -math.inf

    def see(self, publishers: frozenset[object], *, is_latched: bool, now: float) -> None:
        """Take the topic's publishers, told apart by any value, and whether all are latched."""
        self._last_word.see(publishers, now)
        self._is_latched = is_latched

    def take(self, value: bool, now: float) -> None:
        """Take a message at a monotonic time in s, after a look at the graph."""
        if not self._said or not value:
            self._true_since = now
        self._said, self._heard_at = value, now
        self._last_word.hear(now)

    def is_given(self, now: float) -> Reading:
        """Return whether the newest value that still holds is true."""
        if self._said is None:
            return Reading.unknown("no message yet")
        if not self._said:
            return Reading(0, f"{self._topic} is false")
        silent_sec = now - self._heard_at
        if self._is_latched:
            if not self._last_word.is_heard:
                return Reading.unknown("its publisher is gone")
        elif silent_sec > self._timeout_sec:
            return Reading.unknown(f"no message for {silent_sec:.0f} s")
        return Reading(1, f"{self._topic} is true", self._true_since)
