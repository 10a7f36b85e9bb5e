"""What kept a robot from learning, and from when to when."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from fl_robot_ros.one_line import one_line

# Digits in a name are no number.
_NUMBER = re.compile(r"(?<![\w/])-?[0-9]+(\.[0-9]+)?")
# A robot that drives and stops all night has one hindrance, and not hundreds.
_MOST_BETWEEN_SEC = 600.0
_MOST_CHARACTERS = 200
# Further back, a day of the week says too little.
_WEEKDAYS = timedelta(days=6)


class Hindrance(NamedTuple):
    """A reason why a robot did not learn.

    Attributes:
        reason: What was, and what was needed, as in "battery 0.31, needs >= 0.4".
        since: When it began, as a timestamp in s.
        until: When it was last there, as a timestamp in s.
    """

    reason: str
    since: float
    until: float

    def goes_on(self, reason: str, at: float) -> bool:
        """Say whether a reason at a timestamp in s is this one still, or again after minutes."""
        is_near = abs(at - self.until) < _MOST_BETWEEN_SEC
        return is_near and without_numbers(reason) == without_numbers(self.reason)

    def __str__(self) -> str:
        """Return it as one line, with its time in this machine's local time."""
        since, until = (datetime.fromtimestamp(moment) for moment in (self.since, self.until))
        day = "%a" if until - since < _WEEKDAYS else "%d %b"
        end = f"{until:%H:%M}" if since.date() == until.date() else f"{until:{day} %H:%M}"
        return f"{one_line(self.reason, _MOST_CHARACTERS)} ({since:{day} %H:%M} to {end})"


def without_numbers(text: str) -> str:
    """Return what stays the same in a text when the values in it move on."""
    return _NUMBER.sub("", text)


def hindrance_between(
    hindrances: Iterable[Hindrance], begin: float, end: float
) -> Hindrance | None:
    """Return what kept a robot from learning for the longest part of a time; None for nothing.

    With the time of a run it says why the robot was not in it. The newest hindrance would not: it
    is mostly a rule that must hold for some seconds more. Nor would the longest: it is mostly the
    day, or that there are no new images yet.

    Args:
        hindrances: What there was, in any order.
        begin: Beginning of the time, as a timestamp in s.
        end: Its end.
    """
    found = [(min(one.until, end) - max(one.since, begin), one) for one in hindrances]
    longest_sec, longest = max(found, key=lambda item: item[0], default=(0.0, None))
    return longest if longest_sec > 0.0 else None
