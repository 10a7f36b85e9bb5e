"""Whether a robot moves, from its velocity commands or its odometry."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from fl_robot_ros.autonomy.reading import Reading

# Slower is noise, in m/s and rad/s.
_STANDSTILL = 0.01
# A command holds for so long without the next one. Drivers of bases stop after 0.5 s or so.
_COMMAND_SEC = 1.0


@dataclass
class _Source:
    """What is known of one topic.

    Attributes:
        is_measured: Whether it is odometry, which comes all the time; commands end in silence.
        problem: Why it cannot be read; "" where it can.
        heard_at: Monotonic time in s of its newest message.
        is_moving: What that says.
    """

    is_measured: bool = False
    problem: str = "nobody has published it yet"
    heard_at: float | None = None
    is_moving: bool = False


class Motion:
    """Follows the topics of a robot's motion: it is still when all say so."""

    def __init__(self, topics: Iterable[str], timeout_sec: float) -> None:
        """Know nothing yet of these topics; odometry may be silent for `timeout_sec`."""
        self._sources = {topic: _Source() for topic in topics}
        self._timeout_sec = timeout_sec
        self._moved_at = -math.inf

    def see(self, topic: str, problem: str, *, is_measured: bool) -> None:
        """Take what the graph shows of a topic.

        Args:
            topic: The topic.
            problem: Why it cannot be read; "" where it can. A topic that was there and has no
                publisher now has no problem.
            is_measured: Whether it is odometry.
        """
        source = self._sources[topic]
        source.problem, source.is_measured = problem, is_measured

    def take(self, topic: str, components: Iterable[float], now: float) -> None:
        """Take a velocity.

        Args:
            topic: The topic.
            components: Linear velocities in m/s and angular ones in rad/s.
            now: Monotonic time in s.
        """
        source = self._sources[topic]
        # What is not a number may be a motion.
        source.is_moving = not all(abs(value) <= _STANDSTILL for value in components)
        source.heard_at = now
        if source.is_moving:
            self._moved_at = now

    def is_still(self, now: float) -> Reading:
        """Return whether the robot stands still."""
        for topic, source in self._sources.items():
            silent_sec = math.inf if source.heard_at is None else now - source.heard_at
            if source.problem:
                return Reading.unknown(f"{topic}: {source.problem}")
            if source.is_measured and silent_sec > self._timeout_sec:
                known = "yet" if source.heard_at is None else f"for {silent_sec:.0f} s"
                return Reading.unknown(f"no message on {topic} {known}")
            if source.is_moving and not self._has_ended(source, now):
                return Reading(0, f"moving on {topic}")
        return Reading(1, "still", self._moved_at)

    def _has_ended(self, source: _Source, now: float) -> bool:
        """Say whether the newest message is a command that holds no longer."""
        if source.is_measured or source.heard_at is None:
            return False
        return now - source.heard_at >= _COMMAND_SEC
