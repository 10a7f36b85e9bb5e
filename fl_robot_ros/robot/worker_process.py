"""The fleet worker as a child process: its start, its events and its end."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import fl_robot_ros
from fl_robot_ros.one_line import one_line
from fl_robot_ros.robot.worker_python import worker_environment
from fl_robot_ros.worker_link.event import Ended, Event, read_event
from fl_robot_ros.worker_link.job import CANCEL, PAUSE, RESUME, Job

WORKER_MODULE = "fl_robot_ros.worker.worker"
# A worker ends by itself within 1.5 s, unless native code keeps Python's lock for so long. Its
# files are written atomically. The node has 2 s for its end, before launch (5 s) or an impatient
# user kills it.
_CANCEL_TIMEOUT_SEC = 2.0
_STOP_TIMEOUT_SEC = 1.7


class _Run(NamedTuple):
    """Who follows a run."""

    on_event: Callable[[Event], None]
    on_end: Callable[[str], None]


class WorkerProcess:
    """One fleet worker. Its events arrive in a thread of this object.

    Attributes:
        job: The newest run.
        runs: Number of its runs so far.
    """

    def __init__(
        self,
        python: Path,
        work_dir: Path,
        job: Job,
        on_event: Callable[[Event], None],
        on_end: Callable[[str], None],
        *,
        on_rest: Callable[[WorkerProcess], None] = lambda _: None,
        cancel_timeout_sec: float = _CANCEL_TIMEOUT_SEC,
    ) -> None:
        """Start the worker.

        Args:
            python: Interpreter with Flower and TensorFlow.
            work_dir: Existing folder for the log `worker.log`.
            job: The run.
            on_event: Called with each event.
            on_end: Called once, after the last event, with the end of the run in words, or that
                of the process.
            on_rest: Called before `on_end` where the process waits for another run.
            cancel_timeout_sec: Time from `cancel` to the end by force.

        Raises:
            OSError: The process or the log cannot be started.
        """
        self._log_path = work_dir / "worker.log"
        if self._log_path.exists():
            self._log_path.replace(work_dir / "worker.log.1")
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [str(python), "-m", WORKER_MODULE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=module_environment(python, work_dir),
                text=True,
                encoding="utf-8",
                errors="replace",
            )
        self.job = job
        self.runs = 1
        self._on_rest = on_rest
        # Guards what follows.
        self._lock = threading.Lock()
        self._run: _Run | None = _Run(on_event, on_end)
        self._has_ended = False
        self._killer = threading.Timer(cancel_timeout_sec, self._process.kill)
        self._killer.daemon = True
        self._say(job.to_json())
        self._listener = threading.Thread(target=self._listen, name="worker", daemon=True)
        self._listener.start()

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    @property
    def is_warm(self) -> bool:
        """Whether the process did another run before the newest."""
        return self.runs > 1

    @property
    def is_alive(self) -> bool:
        """Whether the process has not ended yet."""
        return self._process.poll() is None

    def begin(
        self, job: Job, on_event: Callable[[Event], None], on_end: Callable[[str], None]
    ) -> bool:
        """Give a process that waits another run; return whether it was there to take it.

        A process that ends at this moment may take it and be heard of with `on_end` alone.

        Args:
            job: The run, one that `can_follow` the newest.
            on_event: Called with each event.
            on_end: As above.
        """
        with self._lock:
            if self._has_ended:
                return False
            self.job = job
            self.runs += 1
            self._run = _Run(on_event, on_end)
        self._say(job.to_json())
        return True

    def pause(self, reason: str) -> None:
        """Have the worker stop its work and stay in the run; return at once.

        Args:
            reason: Why, for people; the worker leaves the run with it after too long a pause.
        """
        self._say(f"{PAUSE} {one_line(reason)}")

    def resume(self) -> None:
        """Have the worker go on where it stopped; return at once."""
        self._say(RESUME)

    def cancel(self) -> None:
        """Ask the worker to leave the run, and end it by force if it does not; return at once."""
        self._say(CANCEL)
        if self._killer.ident is None:
            self._killer.start()

    def stop(self) -> None:
        """Ask the worker to leave the run and to end, wait up to 1.7 s, and end it by force."""
        self._say(CANCEL)
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
            pass  # the process has ended, which the listener reports

    def _listen(self) -> None:
        """Pass events on until the worker ends."""
        for line in self._process.stdout or ():
            event = read_event(line)
            run = self._run
            if isinstance(event, Ended):
                with self._lock:
                    self._run = None
                self._on_rest(self)
                if run is not None:
                    run.on_end("the run has ended")
            elif event is not None and run is not None:
                run.on_event(event)
        code = self._process.wait()
        self._killer.cancel()
        with self._lock:
            self._has_ended, run = True, self._run
        for pipe in (self._process.stdin, self._process.stdout):
            try:
                if pipe is not None:
                    pipe.close()
            except OSError:
                pass  # the last line written has no reader
        if run is not None:
            run.on_end(describe_exit(code, self._log_path))


def describe_exit(code: int, log_path: Path) -> str:
    """Return in words how a worker ended that gave no reason.

    Args:
        code: Exit code, or minus the number of the signal.
        log_path: The worker's log.
    """
    if code >= 0:
        return f"the worker ended with exit code {code}, see {log_path}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = ", perhaps for want of memory" if name == "SIGKILL" else ""
    return f"the worker was killed by {name}{hint}, see {log_path}"


def module_environment(python: Path, work_dir: Path) -> dict[str, str]:
    """Return the environment of a process that runs modules of this package.

    Args:
        python: Its interpreter; another than this one finds this package, and nothing else of
            this one.
        work_dir: Existing folder for a link to this package.
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
