"""Starts, follows and leaves the robot's runs."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from fl_robot_ros.config import ClientSettings, expand_path
from fl_robot_ros.data_source import DataSource
from fl_robot_ros.dataset.dataset import Dataset
from fl_robot_ros.dataset.snapshot import FrozenSnapshot
from fl_robot_ros.errors import FlRobotError, RunRefusedError, SnapshotError
from fl_robot_ros.name_list import count_list
from fl_robot_ros.robot.worker_process import WorkerProcess, describe_exit
from fl_robot_ros.robot.worker_python import WorkerPython
from fl_robot_ros.worker_link.run_status import (
    CONNECTING,
    DELIVERING,
    EVALUATING,
    FAILED,
    FINISHED,
    IDLE,
    TRAINING,
    WAITING,
    RunStatus,
)

SNAPSHOTS_KEPT = 3
_STATES = (CONNECTING, WAITING, TRAINING, EVALUATING, DELIVERING)
_FOLLOWED = ("run", "round", "rounds", "epoch", "epochs", "loss", "accuracy")

_logger = logging.getLogger(__name__)


class RunControl:
    """One run at a time: snapshot, worker, status. All methods but `stop` return at once."""

    def __init__(
        self,
        dataset: Dataset,
        settings: ClientSettings,
        source: DataSource,
        python: WorkerPython,
        data_dir: Path,
        robot: str,
        server_address: str,
        on_change: Callable[[], None],
    ) -> None:
        """Prepare; nothing is started.

        Args:
            dataset: The robot's dataset.
            settings: The client's settings.
            source: What the runs learn from.
            python: The interpreter of the workers.
            data_dir: Folder of snapshots, models and the worker's log.
            robot: The robot's name.
            server_address: host:port of the server.
            on_change: Called, from any thread, after the status changed.
        """
        self._dataset = dataset
        self._settings = settings
        self._source = source
        self._python = python
        self._data_dir = data_dir
        self._robot = robot
        self._server_address = server_address
        self._on_change = on_change
        # Guards everything below.
        self._lock = threading.Lock()
        self._status = RunStatus()
        self._worker: WorkerProcess | None = None
        self._is_cancelled = False
        self._is_delivered = False
        self._starter: threading.Thread | None = None
        self._freezer: subprocess.Popen[str] | None = None

    @property
    def models_dir(self) -> Path:
        """Folder of the model versions."""
        return self._data_dir / "models"

    @property
    def status(self) -> RunStatus:
        """The state now."""
        with self._lock:
            return self._status

    @property
    def worker_pid(self) -> int | None:
        """Process of the worker, None without one."""
        with self._lock:
            return self._worker.pid if self._worker else None

    def start(self) -> Future[str]:
        """Start a run with the samples stored so far, or another source.

        Returns:
            Completed, before `on_change` is called, when the worker is started, with a line for
            people; or with the RunRefusedError, SnapshotError or OSError that kept it from that.

        Raises:
            RunRefusedError: A run is on, there are too few samples, or the
                interpreter of the worker is known not to fit.
            DatasetError: The dataset cannot be read.
        """
        counts = self._dataset.counts() if self._source.is_captured else {}
        total = sum(counts.values())
        needed = self._settings.min_samples if self._source.is_captured else 0
        with self._lock:
            if self._status.is_active or self._worker is not None:
                raise RunRefusedError(f"a run is on already: {describe(self._status)}")
            if total < needed:
                raise RunRefusedError(
                    f"{total} labelled images; min_samples asks for at least {needed}"
                )
            problem = self._python.known_problem()
            if problem:
                raise RunRefusedError(problem)
            self._is_cancelled = self._is_delivered = False
            self._status = RunStatus(CONNECTING, "starting the worker", samples=total)
            started: Future[str] = Future()
            self._starter = threading.Thread(
                target=self._start,
                args=(self._dataset.last_id(), len(counts), started),
                daemon=True,
            )
            self._starter.start()
        self._on_change()
        return started

    def cancel(self) -> str:
        """Leave the run; return a line for people.

        Raises:
            RunRefusedError: There is no run.
        """
        with self._lock:
            if not self._status.is_active:
                raise RunRefusedError(f"there is no run to leave: {describe(self._status)}")
            self._is_cancelled = True
            worker = self._worker
            self._status = replace(self._status, detail="leaving the run")
        if worker is not None:
            worker.cancel()
        self._on_change()
        return "leaving the run"

    def stop(self) -> None:
        """Leave the run, if there is one, and wait up to about 1 s for the worker's end."""
        with self._lock:
            self._is_cancelled = True
            self._python.stop()
            starter, worker = self._starter, self._worker
            if self._freezer is not None:
                self._freezer.kill()
        if starter is not None:
            starter.join()
            with self._lock:
                worker = self._worker
        if worker is not None:
            worker.stop()

    def _start(self, max_id: int, labels: int, started: Future[str]) -> None:
        """Freeze the snapshot, if the source is the dataset, and start the worker, in a thread."""
        settings = self._settings
        # Until the worker has read the images of the snapshot.
        self._dataset.pin(max_id)
        try:
            problem = self._python.check()
            if problem:
                raise RunRefusedError(problem)
            data, snapshot_path = str(self._source), ""
            if self._source.is_captured:
                snapshot = self._freeze(max_id)
                data, snapshot_path = self._describe(snapshot, labels), snapshot.path
            certificates = settings.root_certificates
            job = {
                "robot": self._robot,
                "server_address": self._server_address,
                "root_certificates": certificates and str(expand_path(certificates)),
                "connect_timeout_sec": settings.connect_timeout_sec,
                "server_timeout_sec": settings.server_timeout_sec,
                "source": asdict(self._source),
                "snapshot_path": snapshot_path,
                "models_dir": str(self.models_dir),
                "keep_versions": settings.keep_versions,
                "threads": settings.worker_threads,
                "nice": settings.worker_nice,
            }
            with self._lock:
                if self._is_cancelled:
                    raise RunRefusedError("the run was left")
                self._worker = WorkerProcess(
                    self._python.path, job, self._data_dir, self._on_event, self._on_exit
                )
                self._status = replace(self._status, data=data)
            started.set_result(f"run started with {data}; server {self._server_address}")
        except (FlRobotError, OSError) as error:
            self._dataset.pin(0)
            with self._lock:
                if self._is_cancelled:
                    self._status = RunStatus(IDLE, "the run was left")
                else:
                    self._status = RunStatus(FAILED, f"the run did not start: {error}")
            started.set_exception(error)
        self._on_change()

    def _freeze(self, max_id: int) -> FrozenSnapshot:
        """Freeze the dataset up to a sample.

        A process of its own does it, so that the node stays small beside a large dataset.

        Raises:
            SnapshotError: It cannot be done.
        """
        settings = self._settings
        folder = self._data_dir / "snapshots"
        arguments = [
            self._dataset.path,
            folder,
            settings.holdout_fraction,
            settings.segment_sec,
            settings.split_gap_sec,
            max_id,
        ]
        with self._lock:
            if self._is_cancelled:
                raise SnapshotError("the run was left")
            self._freezer = subprocess.Popen(
                [sys.executable, "-m", "fl_robot_ros.dataset.snapshot", *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        output, errors = self._freezer.communicate()
        code = self._freezer.returncode
        with self._lock:
            self._freezer = None
        if code:
            reason = errors.strip().splitlines()[-1:] or [f"exit code {code}"]
            raise SnapshotError(f"the dataset could not be frozen: {reason[0]}")
        self._prune_snapshots(folder)
        return FrozenSnapshot(**json.loads(output))

    def _describe(self, snapshot: FrozenSnapshot, labels: int) -> str:
        """Return in one line what becomes of the dataset's images in a run."""
        total = snapshot.train + snapshot.holdout + snapshot.left_out
        text = (
            f"{total} images of {labels} labels: {snapshot.train} to train on, "
            f"{snapshot.holdout} held out"
        )
        if snapshot.left_out:
            text += (
                f", {snapshot.left_out} left out (nearer than split_gap_sec, "
                f"{self._settings.split_gap_sec:g} s, to one held out)"
            )
        waiting = self._dataset.num_unlabelled()
        return text + (f"; {waiting} more wait for a label" if waiting else "")

    def _on_event(self, event: dict[str, Any]) -> None:
        """Take one event of the worker."""
        name = event.get("event")
        with self._lock:
            status = self._status
            if name in _STATES:
                followed = {key: event[key] for key in _FOLLOWED if key in event}
                if "epoch" not in followed:
                    followed.update(epoch=0, epochs=0)
                self._status = replace(status, state=str(name), detail="", **followed)
            elif name == "reading":
                self._status = replace(status, detail=f"reading {event.get('source')}")
            elif name == "prepared":
                self._dataset.pin(0)
                self._status = replace(status, data=_describe_data(event))
                _logger.info("%s", self._status.data)
            elif name == "delivered":
                self._is_delivered = True
                self._status = replace(
                    status,
                    state=DELIVERING,
                    detail=f"model {event.get('version')} is stored",
                    accuracy=event.get("holdout_accuracy"),
                )
            elif name == "failed":
                self._status = replace(status, state=FAILED, detail=str(event.get("reason")))
        self._on_change()

    def _on_exit(self, code: int) -> None:
        """Take the worker's end."""
        self._dataset.pin(0)
        with self._lock:
            log_path = self._worker.log_path if self._worker else self._data_dir
            self._worker = None
            status = self._status
            if self._is_delivered:
                self._status = replace(status, state=IDLE, detail=FINISHED)
            elif self._is_cancelled:
                self._status = RunStatus(IDLE, "the run was left")
            elif status.state != FAILED:
                self._status = replace(status, state=FAILED, detail=describe_exit(code, log_path))
        self._on_change()

    def _prune_snapshots(self, folder: Path) -> None:
        """Keep the newest snapshots; their names begin with the time."""
        for path in sorted(folder.glob("*.json"))[:-SNAPSHOTS_KEPT]:
            path.unlink(missing_ok=True)


def describe(status: RunStatus) -> str:
    """Return a status in one line."""
    parts = [status.state]
    if status.is_active and status.round:
        parts.append(f"round {status.round} of {status.rounds}")
    if status.detail:
        parts.append(status.detail)
    return ", ".join(parts)


def _describe_data(event: dict[str, Any]) -> str:
    """Return what the worker found in its data, in one line."""
    text = (
        f"{event.get('train_images')} images to train on, {event.get('holdout_images')} held out"
    )
    unmapped = event.get("unmapped_labels")
    if unmapped:
        text += f"; labels that are no class of this run: {count_list(unmapped)}"
    if event.get("unreadable_images"):
        text += f"; {event['unreadable_images']} unreadable images"
    return text
