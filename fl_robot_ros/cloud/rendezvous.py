"""The wait of a server for the next moment of its schedule, with the gate closed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from fl_robot_ros.cloud.gate import Gate
from fl_robot_ros.cloud.history import History
from fl_robot_ros.cloud.schedule import MOST_COUNTED, Schedule, describe_moment

# Most time between two looks at the clock, which may be set.
_POLL_SEC = 1.0
# A machine that wakes later than this begins no run of a moment that it slept through.
_LATE_SEC = 60.0


class Rendezvous:
    """Where the fleet meets for its runs: between them robots are told when to come back."""

    def __init__(
        self,
        schedule: Schedule,
        history: History,
        say: Callable[[str], None],
        stop: threading.Event,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take the schedule.

        Args:
            schedule: When runs begin.
            history: The runs so far.
            say: Prints a line for the operator.
            stop: Ends the wait when set.
            clock: Returns the time as a timestamp in s.
        """
        self._schedule = schedule
        self._history = history
        self._say = say
        self._stop = stop
        self._clock = clock

    def wait(self, gate: Gate) -> bool:
        """Wait for the next moment, and say which ones were skipped since the last run.

        Args:
            gate: Closed during the wait.

        Returns:
            True at the moment, False if the server is to stop.
        """
        self._tell_missed()
        while not self._stop.is_set():
            since = now = self._clock()
            begin_at = self._schedule.next_after(since)
            gate.close_until(begin_at)
            self._say(f"the next run begins {describe_moment(begin_at, since)}")
            # Before `since` there may be another moment: the clock was ahead, and was set back.
            while since <= now < begin_at:
                if self._stop.wait(min(begin_at - now, _POLL_SEC)):
                    return False
                now = self._clock()
            if begin_at <= now <= begin_at + _LATE_SEC:
                gate.close_until(None)
                return True
            self._tell_skipped(since, now, "the machine slept, or its clock was set")
        return False

    def _tell_missed(self) -> None:
        """Name the moments since the beginning of the last run."""
        times = self._history.times_of_last_run()
        if times is None:
            return
        began_at, ended_at = times
        self._tell_skipped(began_at, ended_at, "the run before was still on")
        self._tell_skipped(ended_at, self._clock(), "there was no server")

    def _tell_skipped(self, first: float, last: float, reason: str) -> None:
        moments = self._schedule.between(first, last)
        if not moments:
            return
        newest = time.strftime("%a %d %b %H:%M", time.localtime(moments[-1]))
        if len(moments) == 1:
            which, until = f"the run of {newest} was", ""
        elif len(moments) < MOST_COUNTED:
            which, until = f"{len(moments)} runs were", f", up to {newest}"
        else:
            which, until = f"{MOST_COUNTED} runs or more were", ""
        self._say(f"{which} skipped{until}: {reason}")
