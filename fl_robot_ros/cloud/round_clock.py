"""The time of a round, and how much of it is the work of its slowest robot."""

from __future__ import annotations

import time
from collections.abc import Sequence

from fl_robot_ros.cloud.update_check import Reply


class RoundClock:
    """Runs from its creation, and from each `lap`."""

    def __init__(self) -> None:
        """Begin."""
        self._start = time.monotonic()
        self._work_sec: dict[int, float] = {}

    def add(self, replies: Sequence[Reply]) -> None:
        """Add the working time that robots report."""
        for reply in replies:
            self._work_sec[reply.node_id] = self._work_sec.get(reply.node_id, 0.0) + reply.seconds

    def lap(self) -> tuple[float, float]:
        """Return the seconds of this round and of its slowest robot, and begin the next."""
        now = time.monotonic()
        lap = now - self._start, max(self._work_sec.values(), default=0.0)
        self._start, self._work_sec = now, {}
        return lap
