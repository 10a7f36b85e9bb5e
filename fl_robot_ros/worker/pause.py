"""A worker's pause: its work stops where it is while the robot needs its processor."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace

from fl_robot_ros.errors import PauseTooLongError
from fl_robot_ros.worker_link.event import EventWriter, Progress
from fl_robot_ros.worker_link.run_status import RunState

_logger = logging.getLogger(__name__)


class Pause:
    """Stops the work at its next step, and lets it go on.

    Work that can be interrupted calls `wait` between its steps. The connection has threads of its
    own, and is not paused.
    """

    def __init__(self, events: EventWriter, max_sec: float) -> None:
        """Pause nothing yet.

        Args:
            events: Tells the node when the work stands, and what it goes on with.
            max_sec: Longest pause, in s.
        """
        self._events = events
        self._max_sec = max_sec
        self._changed = threading.Condition()
        self._reason = ""
        self._end_at = 0.0
        self._before: Progress | None = None

    def begin(self, reason: str) -> None:
        """Have the work stop; a pause that has begun keeps its time.

        Args:
            reason: One line for people.
        """
        with self._changed:
            if not self._reason:
                self._end_at = time.monotonic() + self._max_sec
                _logger.info("a pause begins: %s", reason)
            self._reason = reason or "told to pause"
            progress = self._events.progress
            if progress is not None and progress.state == RunState.WAITING:
                self._tell()  # there is no work to stop

    def end(self) -> None:
        """Have the work go on."""
        with self._changed:
            if self._reason:
                _logger.info("the pause ends")
            self._reason = ""
            progress = self._events.progress
            if progress is not None and progress.state == RunState.PAUSED and self._before:
                self._events.write(self._before)
            self._before = None
            self._changed.notify_all()

    def wait(self) -> None:
        """Return when there is no pause; from any thread.

        Raises:
            PauseTooLongError: The pause is too long.
        """
        if not self._reason:
            return
        with self._changed:
            while self._reason:
                self._tell()
                left_sec = self._left_sec()
                self._changed.wait(left_sec)

    def check(self) -> None:
        """Return at once, paused or not.

        Raises:
            PauseTooLongError: The pause is too long.
        """
        with self._changed:
            if self._reason:
                self._left_sec()

    def _left_sec(self) -> float:
        """Return how long the pause may still take, in s.

        Raises:
            PauseTooLongError: The pause is too long.
        """
        left_sec = self._end_at - time.monotonic()
        if left_sec <= 0.0:
            raise PauseTooLongError(
                f"left: {self._reason}; the pause was longer than {self._max_sec:g} s"
            )
        return left_sec

    def _tell(self) -> None:
        """Tell the node that the work stands, once."""
        progress = self._events.progress
        if progress is not None and progress.state != RunState.PAUSED:
            self._before = progress
            self._events.write(replace(progress, state=RunState.PAUSED, loss=None, accuracy=None))
