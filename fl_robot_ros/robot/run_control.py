"""A robot's runs: start, progress, cancellation and end of one run at a time.

    idle, failed --start--> connecting --Progress--> waiting <--> training, evaluating, delivering

`pause` holds the run where it is, `paused`, and `resume` lets it go on; the worker leaves it by
itself after `pause_max_sec`.

A run ends with its worker's process or, where that stays warm for the next run, when it says so.
The state is then `idle` after a delivery, a dismissal or a cancellation, or where the server has
no run now, and `failed` otherwise. A worker may be silent for hours, for example while it waits
for other robots, so silence ends no run: `silent_sec` shows its length, and a worker that does
not listen is ended by force some seconds after `cancel`. A warm worker that ends before it said a
word of a run is replaced, and the run goes on.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from fl_robot_ros.config import ClientSettings, expand_path
from fl_robot_ros.data_source import DataSource
from fl_robot_ros.dataset.dataset import Dataset
from fl_robot_ros.errors import FlRobotError, RunFailedError, RunRefusedError
from fl_robot_ros.name_list import count_list
from fl_robot_ros.publication import Publication
from fl_robot_ros.robot.session_shape import SessionShape
from fl_robot_ros.worker_link.event import (
    Delivered,
    Dismissed,
    Dropped,
    Event,
    Failed,
    Frozen,
    Prepared,
    Progress,
    Reading,
)
from fl_robot_ros.worker_link.hindrance import Hindrance
from fl_robot_ros.worker_link.job import FreezeRequest, Job
from fl_robot_ros.worker_link.run_status import FINISHED, RunState, RunStatus

_LEFT = "the run was left"

_logger = logging.getLogger(__name__)


class Worker(Protocol):
    """A worker that was started: `WorkerProcess`, or a double in a test."""

    @property
    def pid(self) -> int:
        """Number of its process."""

    @property
    def is_warm(self) -> bool:
        """Whether its process did another run before."""

    def pause(self, reason: str) -> None:
        """Have the worker stop its work and stay in the run; return at once."""

    def resume(self) -> None:
        """Have the worker go on where it stopped; return at once."""

    def cancel(self) -> None:
        """Have the worker leave the run, by force in the end; return at once."""

    def stop(self) -> None:
        """End the worker and wait for its end."""


class WorkerSource(Protocol):
    """Where workers come from: `Workers`, or a double in a test."""

    @property
    def warm_pid(self) -> int | None:
        """Number of a process that waits for another run, None without one."""

    def start(
        self, job: Job, on_event: Callable[[Event], None], on_end: Callable[[str], None]
    ) -> Worker:
        """Start a worker, or have a warm one do the job; may raise an OSError.

        Its events and the end in words come from another thread.
        """

    def stop(self) -> None:
        """End a process that waits for another run."""


class PythonCheck(Protocol):
    """The check of the workers' Python: `WorkerPython`, or a double in a test."""

    def known_problem(self) -> str:
        """Return at once why no worker can run, "" where nothing is known."""

    def check(self) -> str:
        """Return why no worker can run, "" if one can; may take seconds."""

    def stop(self) -> None:
        """End a check that is in progress, and all later ones."""


class RunControl:
    """One run at a time. All methods return at once, but for `stop`."""

    def __init__(
        self,
        dataset: Dataset,
        settings: ClientSettings,
        source: DataSource,
        python: PythonCheck,
        workers: WorkerSource,
        data_dir: Path,
        robot: str,
        server_address: str,
        on_change: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start nothing yet.

        Args:
            dataset: The robot's dataset.
            settings: The client's settings.
            source: The learning data.
            python: The check of the workers' Python.
            workers: Starts the workers.
            data_dir: Folder of the snapshots and of the model versions.
            robot: The robot's name.
            server_address: host:port of the server.
            on_change: Called, from any thread, after a change of the status.
            clock: Returns a time in s.
        """
        self._dataset = dataset
        self._settings = settings
        self._source = source
        self._python = python
        self._workers = workers
        self._data_dir = data_dir
        self._robot = robot
        self._server_address = server_address
        self._on_change = on_change
        self._clock = clock
        # Guards everything below.
        self._lock = threading.Lock()
        self._status = RunStatus()
        self._started: Future[str] = Future()
        self._starter: threading.Thread | None = None
        self._worker: Worker | None = None
        self._is_heard = False
        self._is_cancelled = False
        self._pause_reason = ""
        self._shape = SessionShape()
        self._hindrances: tuple[Hindrance, ...] = ()
        self._newest_id = 0
        self._outcome: Delivered | Dismissed | Failed | None = None
        self._heard_at = 0.0
        self._num_unlabelled = 0

    @property
    def status(self) -> RunStatus:
        """The state now."""
        with self._lock:
            return self._status

    @property
    def worker_pid(self) -> int | None:
        """Number of the worker's process, in a run or warm; None without one."""
        with self._lock:
            return self._worker.pid if self._worker else self._workers.warm_pid

    @property
    def silent_sec(self) -> float | None:
        """Time since the start or the newest event of the worker in s, None without a worker."""
        with self._lock:
            return self._clock() - self._heard_at if self._worker else None

    @property
    def is_leaving(self) -> bool:
        """Whether the worker leaves the run, and will not learn any more."""
        with self._lock:
            return self._status.is_active and self._is_over()

    @property
    def shape(self) -> str:
        """The shape of the newest run, see `session_shape`; "" before the first."""
        with self._lock:
            return str(self._shape)

    @property
    def newest_id(self) -> int:
        """Id of the newest sample that the newest run may learn from, 0 before the first."""
        with self._lock:
            return self._newest_id

    @property
    def was_cancelled(self) -> bool:
        """Whether a person had the robot leave the newest run."""
        with self._lock:
            return self._is_cancelled

    @property
    def come_back_sec(self) -> float:
        """For how long, from its end on, the newest run's server has no other; 0: unknown."""
        with self._lock:
            return self._outcome.come_back_sec if self._outcome else 0.0

    def start(self, hindrances: Sequence[Hindrance] = ()) -> Future[str]:
        """Start a run with the samples stored so far, or with another source.

        Args:
            hindrances: What kept the robot from learning before.

        Returns:
            Completed when the worker has its data and goes to the server, with a line for
            people, or with the FlRobotError or OSError that prevented it; in either case before
            `on_change` is called.

        Raises:
            RunRefusedError: A run is in progress, there are too few samples, or no worker can
                run.
            DatasetError: The dataset cannot be read.
        """
        is_captured = self._source.is_captured
        counts = self._dataset.counts() if is_captured else {}
        num_unlabelled = self._dataset.num_unlabelled() if is_captured else 0
        total = sum(counts.values())
        needed = self._settings.min_samples if is_captured else 0
        with self._lock:
            if self._status.is_active:
                raise RunRefusedError(f"a run is on already: {self._status}")
            if total < needed:
                raise RunRefusedError(
                    f"{total} labelled images; min_samples asks for at least {needed}"
                )
            problem = self._python.known_problem()
            if problem:
                raise RunRefusedError(problem)
            self._is_cancelled, self._outcome, self._pause_reason = False, None, ""
            self._shape = SessionShape()
            self._started = started = Future[str]()
            self._num_unlabelled = num_unlabelled
            self._hindrances = tuple(hindrances)
            data = f"{total} images of {len(counts)} labels" if counts else str(self._source)
            self._status = RunStatus(
                RunState.CONNECTING, "starting the worker", samples=total, data=data
            )
            self._newest_id = max_id = self._dataset.last_id()
            self._dataset.pin(max_id)  # until the worker has read the images
            self._starter = threading.Thread(target=self._start, daemon=True)
            self._starter.start()
        self._on_change()
        return started

    def pause(self, reason: str) -> None:
        """Hold the run, if there is one, until `resume`; again with another reason.

        Args:
            reason: Why, for people.
        """
        with self._lock:
            worker = self._worker
            if not self._status.is_active or self._is_over():
                return
            self._pause_reason = reason
            if self._status.state == RunState.PAUSED:
                self._status = replace(self._status, detail=reason)
        if worker is not None:
            worker.pause(reason)

    def resume(self) -> None:
        """Let a run go on that `pause` holds."""
        with self._lock:
            worker = self._worker
            was_paused = bool(self._pause_reason) and not self._is_over()
            self._pause_reason = ""
        if was_paused and worker is not None:
            worker.resume()

    def cancel(self) -> str:
        """Leave the run; return a line for people.

        Raises:
            RunRefusedError: No run is in progress.
        """
        with self._lock:
            if not self._status.is_active:
                raise RunRefusedError(f"there is no run to leave: {self._status}")
            self._is_cancelled = True
            worker = self._worker
            self._status = replace(self._status, detail="leaving the run")
        if worker is not None:
            worker.cancel()
        self._on_change()
        return "leaving the run"

    def stop(self) -> None:
        """Leave the run, if there is one, and wait up to about 2 s for the workers' end."""
        with self._lock:
            self._is_cancelled = True
            starter = self._starter
        self._python.stop()
        if starter is not None:
            starter.join()
        with self._lock:
            worker = self._worker
        if worker is not None:
            worker.stop()
        self._workers.stop()

    def _is_over(self) -> bool:
        return self._is_cancelled or isinstance(self._outcome, Failed)

    def _start(self) -> None:
        """Start the worker, in a thread: the check of its Python may take seconds."""
        try:
            problem = self._python.check()
            if problem:
                raise RunRefusedError(problem)
            with self._lock:
                if self._is_cancelled:
                    raise RunRefusedError(_LEFT)
                self._heard_at, self._is_heard = self._clock(), False
                self._worker = self._workers.start(self._job(), self._on_event, self._on_end)
                if self._pause_reason:
                    self._worker.pause(self._pause_reason)
        except (FlRobotError, OSError) as error:
            self._end(f"the run did not start: {error}", error)
        else:
            self._on_change()

    def _job(self) -> Job:
        settings = self._settings
        certificates, enrolment = settings.root_certificates, settings.enrolment
        freeze = FreezeRequest(
            dataset_dir=str(self._dataset.path),
            snapshots_dir=str(self._data_dir / "snapshots"),
            max_id=self._newest_id,
            segment_sec=settings.segment_sec,
            gap_sec=settings.split_gap_sec,
        )
        return Job(
            robot=self._robot,
            server_address=self._server_address,
            root_certificates=certificates and str(expand_path(certificates)),
            enrolment=enrolment and str(expand_path(enrolment)),
            connect_timeout_sec=settings.connect_timeout_sec,
            server_timeout_sec=settings.server_timeout_sec,
            source=self._source,
            freeze=freeze if self._source.is_captured else None,
            hindrances=self._hindrances,
            models_dir=str(self._data_dir / "models"),
            keep_versions=settings.keep_versions,
            publication=Publication.from_settings(settings),
            threads=settings.worker_threads,
            nice=settings.worker_nice,
            memory_limit_mb=settings.worker_memory_limit_mb,
            pause_max_sec=settings.pause_max_sec,
            keep_warm=settings.worker_keep_warm_sec > 0.0,
        )

    def _on_event(self, event: Event) -> None:
        """Take one event of the worker."""
        started = None
        with self._lock:
            self._heard_at, self._is_heard = self._clock(), True
            status = self._status
            self._shape.take(event)
            if isinstance(event, Progress):
                status = _after_progress(status, event)
                if event.state == RunState.PAUSED:
                    status = replace(status, detail=self._pause_reason)
                started = None if self._started.done() else self._started
            elif isinstance(event, Frozen):
                status = replace(status, data=status.data + self._describe_sides(event))
            elif isinstance(event, Prepared):
                self._dataset.pin(0)
                status = replace(status, data=_describe_data(event))
                _logger.info("%s", status.data)
            elif isinstance(event, Delivered):
                self._outcome = event
                stored = f"model {event.version} is stored, accuracy {event.accuracy:.3f}"
                detail = event.note or stored
                status = replace(
                    status, state=RunState.DELIVERING, detail=detail, accuracy=event.accuracy
                )
            elif isinstance(event, (Dismissed, Failed)):
                # The worker stays until the server has read the reason too.
                self._outcome = event
                status = replace(status, detail=event.reason)
            elif isinstance(event, Dropped):
                detail = f"the server did not take a reply: {event.reason}"
                status = replace(status, detail=detail, dropped=status.dropped + 1)
            elif isinstance(event, Reading):
                status = replace(status, detail=f"reading {event.source}")
            if self._is_cancelled:
                status = replace(status, detail=self._status.detail)
            self._status = status
        if started is not None:
            started.set_result(f"run started with {status.data}; server {self._server_address}")
        self._on_change()

    def _on_end(self, how: str) -> None:
        """Take the end of the worker.

        Args:
            how: How it ended.
        """
        with self._lock:
            worker = self._worker
            is_lost = bool(worker and worker.is_warm) and not (
                self._is_heard or self._is_cancelled
            )
        if is_lost:
            _logger.info("the warm worker is gone, and a new one starts: %s", how)
            self._start()
        else:
            self._end(how)

    def _end(self, how: str, error: Exception | None = None) -> None:
        """Take the end of the run.

        Args:
            how: How the worker ended; the reason of the failure when it gave none.
            error: What prevented the worker's start.
        """
        self._dataset.pin(0)
        with self._lock:
            self._worker, self._pause_reason = None, ""
            self._shape.end()
            if isinstance(self._outcome, (Delivered, Dismissed)):
                outcome = self._outcome
                note = outcome.note if isinstance(outcome, Delivered) else outcome.reason
                detail = f"{FINISHED}; {note}" if note else FINISHED
                self._status = replace(self._status, state=RunState.IDLE, detail=detail)
            elif self._is_cancelled:
                self._status = RunStatus(RunState.IDLE, _LEFT)
            else:
                reason = self._outcome.reason if self._outcome else how
                # A robot that comes between two runs of the server did nothing wrong, nor one that
                # was needed.
                is_fault = self._outcome is None or (
                    self._outcome.is_fault and not self._outcome.come_back_sec
                )
                state = RunState.FAILED if is_fault else RunState.IDLE
                self._status = replace(self._status, state=state, detail=reason)
            started, detail = self._started, self._status.detail
        if not started.done():
            started.set_exception(error or RunFailedError(detail))
        self._on_change()

    def _describe_sides(self, frozen: Frozen) -> str:
        """Return what becomes of the dataset's images in a run."""
        text = f": {frozen.train} to train on, {frozen.holdout} held out"
        if frozen.left_out:
            text += (
                f", {frozen.left_out} left out (nearer than split_gap_sec, "
                f"{self._settings.split_gap_sec:g} s, to one held out)"
            )
        waiting = self._num_unlabelled
        return text + (f"; {waiting} more wait for a label" if waiting else "")


def _after_progress(status: RunStatus, event: Progress) -> RunStatus:
    """Return the status after an event; loss and accuracy stay until there are newer ones."""
    return replace(
        status,
        state=event.state,
        detail="",
        run=event.run,
        round=event.round,
        rounds=event.rounds,
        epoch=event.epoch,
        epochs=event.epochs,
        loss=status.loss if event.loss is None else event.loss,
        accuracy=status.accuracy if event.accuracy is None else event.accuracy,
    )


def _describe_data(event: Prepared) -> str:
    """Return the number of usable and of unusable images in one line."""
    text = f"{event.train_images} images to train on, {event.holdout_images} held out"
    if event.unmapped_labels:
        text += f"; labels that are no class of this run: {count_list(event.unmapped_labels)}"
    if event.unreadable_images:
        text += f"; {event.unreadable_images} unreadable images"
    return text
