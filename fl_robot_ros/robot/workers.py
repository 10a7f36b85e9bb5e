"""The fleet workers of a robot's runs, of which the last may stay warm for the next run."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from fl_robot_ros.robot.worker_process import WorkerProcess
from fl_robot_ros.worker_link.event import Event
from fl_robot_ros.worker_link.job import Job

# Memory grew by 6 MB in 20 runs (bench/warm.py). What grows for longer ends with the process.
_MOST_RUNS = 100


class Workers:
    """Starts one worker at a time. All methods may be called from any thread.

    A warm worker has no clock of its own: it waits until it is given another job, or told to end,
    after `keep_warm_sec` or by `stop`, or this process ends. So no job meets a worker that ends.
    """

    def __init__(self, python: Path, work_dir: Path, keep_warm_sec: float) -> None:
        """Start nothing yet.

        Args:
            python: Interpreter with Flower and TensorFlow.
            work_dir: Existing folder for the log `worker.log`.
            keep_warm_sec: How long a worker waits whose job says `keep_warm`.
        """
        self._python = python
        self._work_dir = work_dir
        self._keep_warm_sec = keep_warm_sec
        # Guards what follows.
        self._lock = threading.Lock()
        self._warm: WorkerProcess | None = None
        self._timer: threading.Timer | None = None

    @property
    def warm_pid(self) -> int | None:
        """Number of the process that waits for another run, None without one."""
        with self._lock:
            return self._warm.pid if self._warm is not None and self._warm.is_alive else None

    def start(
        self, job: Job, on_event: Callable[[Event], None], on_end: Callable[[str], None]
    ) -> WorkerProcess:
        """Give a job to the warm worker, or to a new one where that cannot do it.

        Args:
            job: The run.
            on_event: Called with each event.
            on_end: Called once, after the last event, with the end in words: that of the run, or
                of the process.

        Raises:
            OSError: The process or the log cannot be started.
        """
        warm = self._take_warm()
        if warm is not None:
            can_do = warm.runs < _MOST_RUNS and job.can_follow(warm.job)
            if can_do and warm.begin(job, on_event, on_end):
                return warm
            warm.stop()
        return WorkerProcess(
            self._python, self._work_dir, job, on_event, on_end, on_rest=self._keep
        )

    def stop(self) -> None:
        """End the worker that waits, if there is one."""
        warm = self._take_warm()
        if warm is not None:
            warm.stop()

    def _keep(self, process: WorkerProcess) -> None:
        """Keep a worker whose run has ended."""
        with self._lock:
            self._warm = process
            self._timer = threading.Timer(self._keep_warm_sec, self._let_go, (process,))
            self._timer.daemon = True
            self._timer.start()

    def _let_go(self, process: WorkerProcess) -> None:
        """End a worker that has waited for long enough, unless it has another run meanwhile."""
        with self._lock:
            if self._warm is not process:
                return
            self._warm = self._timer = None
        process.stop()

    def _take_warm(self) -> WorkerProcess | None:
        """Return the worker that waits, None without one; it is kept no longer."""
        with self._lock:
            warm, self._warm = self._warm, None
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            return warm
