"""What reaches a worker from outside of its work: the node's words, want of memory, a deadline.

The end comes within two seconds, whatever the work and the server do. Everything that a worker
stores is written beside its place and renamed, so its end does no harm at any moment.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TextIO

from fl_robot_ros.worker.pause import Pause
from fl_robot_ros.worker_link.event import EventWriter, Failed
from fl_robot_ros.worker_link.job import CANCEL, PAUSE, RESUME

FAILED_CODE, CANCELLED_CODE = 1, 3
LEFT = "the robot left the run"
_NOT_NEEDED = "no other run for this worker"
_LEAVE_SEC = 1.4
_MEMORY_POLL_SEC = 0.1
# What the process has for itself. Files that are mapped, such as TensorFlow's code, do not count.
_MEMORY_FIELDS = ("RssAnon:", "RssShmem:")

_logger = logging.getLogger(__name__)


class Connection(Protocol):
    """A connection to the server: `FleetConnection`, or a double in a test."""

    def leave(self, reason: str, within_sec: float) -> None:
        """Tell the server the reason, and sign off."""


class Guard:
    """Ends this process when it must.

    Attributes:
        connection: Where to sign off; None while there is none.
    """

    def __init__(self, events: EventWriter) -> None:
        """Watch nothing yet.

        Args:
            events: Tells the node the reason of a failure.
        """
        self.connection: Connection | None = None
        self._events = events
        self._is_ending = threading.Lock()

    def obey(self, stream: TextIO, pause: Pause) -> queue.SimpleQueue[str]:
        """Do what the node says, and end with the node or at a SIGTERM.

        Call it from the main thread, before there are others.

        Args:
            stream: Standard input, after the first job. `cancel` ends the process.
            pause: Begins at `pause` and a reason, and ends at `resume`.

        Returns:
            Gets the lines with further jobs.
        """
        jobs: queue.SimpleQueue[str] = queue.SimpleQueue()

        def listen() -> None:
            for line in stream:
                word, _, reason = line.strip().partition(" ")
                if word == CANCEL:
                    break
                if word.startswith("{"):
                    # Here, since the next line may be a pause of that run.
                    pause.end()
                    self._events.begin_run()
                    jobs.put(line)
                elif word == PAUSE:
                    pause.begin(reason)
                elif word == RESUME:
                    pause.end()
            self._leave()

        def wait_for_signal() -> None:
            signal.sigwait({signal.SIGTERM})
            self._leave()

        # Python's own handlers wait for the main thread, which may be in a step of TensorFlow.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=listen, name="commands", daemon=True).start()
        threading.Thread(target=wait_for_signal, name="signals", daemon=True).start()
        return jobs

    def limit_memory(self, limit_mb: int) -> None:
        """End the process when it needs more memory.

        Args:
            limit_mb: Megabytes; 0: no limit.
        """

        def watch() -> None:
            # Between two runs there is no work that takes memory, and looking is work itself.
            while not self._events.is_in_run or memory_mb() <= limit_mb:
                time.sleep(_MEMORY_POLL_SEC)
            self._end(
                FAILED_CODE,
                f"the run needs more than {limit_mb} MB of memory; ask for a smaller model, input "
                "or batch, or raise worker_memory_limit_mb",
            )

        if limit_mb:
            threading.Thread(target=watch, name="memory", daemon=True).start()

    @contextmanager
    def deadline(self, what: str, seconds: float) -> Iterator[None]:
        """End the process when the work inside takes too long; it has no step to pause at.

        Args:
            what: The work, for the message.
            seconds: How long it may take.
        """
        reason = f"{what} takes more than {seconds:g} s"
        timer = threading.Timer(seconds, self._end, (FAILED_CODE, reason))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _leave(self) -> None:
        """End the process because the node or the system says so."""
        self._end(CANCELLED_CODE, LEFT if self._events.is_in_run else _NOT_NEEDED)

    def _end(self, code: int, reason: str) -> None:
        """End the process; the first reason counts."""
        if not self._is_ending.acquire(blocking=False):
            return
        farewell = threading.Thread(target=self._say_farewell, args=(code, reason), daemon=True)
        farewell.start()
        farewell.join(_LEAVE_SEC)
        os._exit(code)

    def _say_farewell(self, code: int, reason: str) -> None:
        """Tell log, node and server the reason; any of them may block."""
        _logger.warning("%s", reason)
        if code == FAILED_CODE:
            self._events.write(Failed(reason))
        connection = self.connection
        if connection is not None:
            connection.leave(reason, _LEAVE_SEC)
        sys.stderr.flush()


def memory_mb() -> float:
    """Return the memory of this process in MB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    fields = (line.split() for line in lines)
    return sum(int(words[1]) / 1000 for words in fields if words and words[0] in _MEMORY_FIELDS)
