"""The fleet worker as a child process: how it is started, heard and ended."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import fl_robot_ros
from fl_robot_ros.robot.worker_python import worker_environment

WORKER_MODULE = "fl_robot_ros.worker.worker"
# The node has 2 s for its end, before launch (5 s) or an impatient user kills it. A worker that
# loads TensorFlow or is in the middle of a step does not listen; what it writes is atomic.
_STOP_TIMEOUT_SEC = 1.0


class WorkerProcess:
    """One fleet worker. Its events arrive in a thread of this object."""

    def __init__(
        self,
        python: Path,
        job: Mapping[str, Any],
        work_dir: Path,
        on_event: Callable[[dict[str, Any]], None],
        on_exit: Callable[[int], None],
    ) -> None:
        """Start the worker.

        Args:
            python: Interpreter with Flower and TensorFlow.
            job: The values of the worker's `WorkerJob`.
            work_dir: Existing folder for the log `worker.log`.
            on_event: Called with each event.
            on_exit: Called once, with the exit code, or minus the number of the signal.

        Raises:
            OSError: The process or the log cannot be started.
        """
        self.log_path = work_dir / "worker.log"
        if self.log_path.exists():
            self.log_path.replace(work_dir / "worker.log.1")
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [str(python), "-m", WORKER_MODULE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=_environment(python, work_dir),
                text=True,
                encoding="utf-8",
            )
        self._on_event = on_event
        self._on_exit = on_exit
        self._say(json.dumps(dict(job)))
        self._listener = threading.Thread(target=self._listen, name="worker", daemon=True)
        self._listener.start()

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def cancel(self) -> None:
        """Ask the worker to leave the run; it answers with its end."""
        self._say("cancel")

    def stop(self) -> None:
        """End the worker, gently at first, and wait for it."""
        self.cancel()
        try:
            self._process.wait(_STOP_TIMEOUT_SEC)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if threading.current_thread() is not self._listener:
            self._listener.join(_STOP_TIMEOUT_SEC)

    def _say(self, line: str) -> None:
        try:
            if self._process.stdin is not None:
                self._process.stdin.write(line + "\n")
                self._process.stdin.flush()
        except (OSError, ValueError):
            pass  # it has ended, which the listener reports

    def _listen(self) -> None:
        """Pass events on until the worker ends."""
        if self._process.stdout is not None:
            for line in self._process.stdout:
                try:
                    event = json.loads(line)
                except ValueError:
                    continue
                if isinstance(event, dict):
                    self._on_event(event)
        code = self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            try:
                if pipe is not None:
                    pipe.close()
            except OSError:
                pass  # what was still to be written has no reader
        self._on_exit(code)


def describe_exit(code: int, log_path: Path) -> str:
    """Return in words how a worker ended that gave no reason."""
    if code >= 0:
        return f"the worker ended with exit code {code}, see {log_path}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = ", perhaps for want of memory" if name == "SIGKILL" else ""
    return f"the worker was killed by {name}{hint}, see {log_path}"


def _environment(python: Path, work_dir: Path) -> dict[str, str]:
    """Return the worker's environment.

    Another interpreter gets a folder with nothing but this package to import from.
    """
    environment = worker_environment(python)
    if python != Path(sys.executable):
        environment["PYTHONPATH"] = str(_module_folder(work_dir))
    environment["PYTHONUNBUFFERED"] = "1"
    return environment


def _module_folder(work_dir: Path) -> Path:
    """Return a folder that holds a link to this package and nothing else."""
    folder = work_dir / "python"
    folder.mkdir(exist_ok=True)
    package = Path(fl_robot_ros.__file__).resolve().parent
    beside = folder / f".{package.name}.tmp"
    beside.unlink(missing_ok=True)
    beside.symlink_to(package)
    beside.replace(folder / package.name)
    return folder
