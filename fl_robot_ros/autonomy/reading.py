"""What a signal says at one moment."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

_FRESH_SEC = 2.0


@dataclass(frozen=True)
class Reading:
    """The value of a signal, or why there is none.

    Attributes:
        value: A number, or whether a state is on; None where it is unknown, which no rule takes.
        text: The value for people, as in "0.31" or "moving on /cmd_vel"; of an unknown one, why.
        since: Monotonic time in s since which a state has been on without an interruption, also
            one between two readings; minus infinity where nothing interrupted it.
    """

    value: float | None
    text: str
    since: float = -math.inf

    @classmethod
    def unknown(cls, reason: str) -> Reading:
        """Return a reading without a value."""
        return cls(None, reason)

    @property
    def is_known(self) -> bool:
        """Whether there is a value; NaN is none."""
        return self.value is not None and not math.isnan(self.value)


class KeptReading:
    """Reads what costs some time, such as a file of the kernel, every two seconds at most."""

    def __init__(
        self, read: Callable[[], Reading], depends_on: Callable[[], object] = lambda: None
    ) -> None:
        """Read nothing yet.

        Args:
            read: Reads it.
            depends_on: Returns what the reading is for; after a change of it, it is read anew.
        """
        self._read = read
        self._depends_on = depends_on
        self._reading = Reading.unknown("not read yet")
        self._read_at = -math.inf
        self._read_for: object = None

    def __call__(self, now: float) -> Reading:
        """Return the reading at a monotonic time in s."""
        current = self._depends_on()
        if current != self._read_for or not 0.0 <= now - self._read_at < _FRESH_SEC:
            self._reading, self._read_at, self._read_for = self._read(), now, current
        return self._reading
