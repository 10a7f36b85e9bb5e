"""What a signal says at one moment."""

from __future__ import annotations

import math
from dataclasses import dataclass


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
