"""When runs begin: lines of cron, in the server's local time."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice

from cronsim import CronSim, CronSimError

from fl_robot_ros.config import ServerSettings
from fl_robot_ros.errors import SettingError

# Of more moments the number is not told.
MOST_COUNTED = 1000


class Schedule:
    """The moments at which runs begin, as timestamps in s."""

    def __init__(self, lines: Sequence[str]) -> None:
        """Check the lines.

        Args:
            lines: Cron lines of five fields (minute, hour, day, month, weekday), or of six with
                the seconds before them.

        Raises:
            SettingError: A line is no line of cron, or names no moment.
        """
        self._lines = tuple(lines)
        for line in lines:
            try:
                next(CronSim(line, datetime.now()))
            except (CronSimError, StopIteration) as error:
                raise SettingError(
                    f"schedule has {line!r}; expected minute, hour, day of the month, month and "
                    f"weekday, as in '0 2 * * *' for 02:00 every day{_reason(error)}"
                ) from error

    def __bool__(self) -> bool:
        """Return whether there are any lines."""
        return bool(self._lines)

    def next_after(self, moment: float) -> float:
        """Return the first moment after another one, by the local clock."""
        return min(next(_moments(line, moment)) for line in self._lines)

    def between(self, first: float, last: float) -> list[float]:
        """Return the moments after the first and up to the last, 1000 at most, ascending."""
        found: set[float] = set()
        for line in self._lines:
            for moment in islice(_moments(line, first), MOST_COUNTED):
                if moment > last:
                    break
                found.add(moment)
        return sorted(found)[:MOST_COUNTED]


def come_back_sec(settings: ServerSettings, now: float) -> float:
    """Return how long a robot may stay away when a run ends now, in s; 0: as long as it likes."""
    schedule = Schedule(settings.schedule)
    return schedule.next_after(now) - now if schedule else settings.come_back_sec


def describe_moment(moment: float, now: float) -> str:
    """Return a moment in words, as in "at Fri 02:00, in 5 h 12 min".

    Args:
        moment: A timestamp in s, after now.
        now: The time now.
    """
    seconds = round(moment - now)
    local = time.localtime(moment)
    text = time.strftime("%a %H:%M" if seconds < 6 * 86400 else "%a %d %b %H:%M", local)
    if local.tm_sec:
        text += f":{local.tm_sec:02}"
    if seconds < 60:
        return f"at {text}, in {seconds} s"
    hours, minutes = divmod(seconds // 60, 60)
    return f"at {text}, in {hours} h {minutes} min" if hours else f"at {text}, in {minutes} min"


def _moments(line: str, after: float) -> Iterator[float]:
    """Yield the moments of a line after one, ascending.

    An hour that comes twice, when summer time ends, counts once.
    """
    for local in CronSim(line, datetime.fromtimestamp(after)):
        moment = local.timestamp()
        if moment > after:
            yield moment


def _reason(error: Exception) -> str:
    return f": {error}" if str(error) else ""
