"""Starts, follows and leaves the robot's runs."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from fl_robot_ros.capture.name_list import count_list
from fl_robot_ros.config import ClientSettings
from fl_robot_ros.dataset.data_source import DataSource
from fl_robot_ros.dataset.store import Dataset
from fl_robot_ros.errors import FlRobotError, RunRefusedError, SnapshotError
from fl_robot_ros.robot.run_status import (
    CONNECTING,
    DELIVERING,
    EVALUATING,
    FAILED,
    IDLE,
    TRAINING,
    WAITING,
    RunStatus,
)
from fl_robot_ros.robot.worker_process import WorkerProcess, describe_exit, find_worker_python

SNAPSHOTS_KEPT = 3
_STATES = (CONNECTING, WAITING, TRAINING, EVALUATING, DELIVERING)
_FOLLOWED = ("run", "round", "rounds", "epoch", "epochs", "loss", "accuracy")

_logger = logging.getLogger(__name__)


class RunControl:
    """One run at a time: snapshot, worker, status. All methods return at once."""

    def __init__(
        self,
        dataset: Dataset,
        settings: ClientSettings,
        source: DataSource,
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
            data_dir: Folder of snapshots, models and the worker's log.
            robot: The robot's name.
            server_address: host:port of the server.
            on_change: Called, from any thread, after the status changed.
        """
        self._dataset = dataset
        self._settings = settings
        self._source = source
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

    def start(self) -> str:
        """Start a run with the samples stored so far, or another source; return a line for people.

        Raises:
            RunRefusedError: A run is on, there are too few samples, or there is no interpreter.
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
            python = find_worker_python(self._settings.worker_python)
            self._is_cancelled = self._is_delivered = False
            self._status = RunStatus(CONNECTING, "starting the worker", samples=total)
            self._starter = threading.Thread(
                target=self._start, args=(python, self._dataset.last_id()), daemon=True
            )
            self._starter.start()
        self._on_change()
        data = f"{total} images of {len(counts)} labels"
        return (
            f"run started with {data if self._source.is_captured else self._source}, server "
            f"{self._server_address}"
        )

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
        """Leave the run, if there is one, and wait for the worker's end."""
        with self._lock:
            self._is_cancelled = True
            starter, worker = self._starter, self._worker
        if starter is not None:
            starter.join()
            with self._lock:
                worker = self._worker
        if worker is not None:
            worker.stop()

    def _start(self, python: Path, max_id: int) -> None:
        """Freeze the snapshot, if the source is the dataset, and start the worker, in a thread."""
        settings = self._settings
        # Until the worker has read the pictures of the snapshot.
        self._dataset.pin(max_id)
        try:
            snapshot_path = self._freeze(max_id) if self._source.is_captured else ""
            job = {
                "robot": self._robot,
                "server_address": self._server_address,
                "root_certificates": settings.root_certificates,
                "connect_timeout_sec": settings.connect_timeout_sec,
                "server_timeout_sec": settings.server_timeout_sec,
                "source": asdict(self._source),
                "snapshot_path": str(snapshot_path),
                "models_dir": str(self.models_dir),
                "keep_versions": settings.keep_versions,
                "threads": settings.worker_threads,
                "nice": settings.worker_nice,
            }
            with self._lock:
                if self._is_cancelled:
                    self._dataset.pin(0)
                    self._status = RunStatus(IDLE, "the run was left")
                else:
                    self._worker = WorkerProcess(
                        python, job, self._data_dir, self._on_event, self._on_exit
                    )
        except (FlRobotError, OSError) as error:
            self._dataset.pin(0)
            with self._lock:
                self._status = RunStatus(FAILED, f"the run did not start: {error}")
        self._on_change()

    def _freeze(self, max_id: int) -> Path:
        """Freeze the dataset up to a sample; return the snapshot's file.

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
        done = subprocess.run(
            [sys.executable, "-m", "fl_robot_ros.dataset.snapshot", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            reason = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
            raise SnapshotError(f"the dataset could not be frozen: {reason[0]}")
        self._prune_snapshots(folder)
        return Path(done.stdout.strip())

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
                self._status = replace(status, state=IDLE, detail="the run is finished")
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
