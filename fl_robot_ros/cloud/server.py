"""The server process: a SuperLink, one run after another, and a line about each round.

Whatever ends in the middle (a ServerApp, the SuperLink, this process) is taken up again from the
newest checkpoint.
"""

from __future__ import annotations

import fcntl
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from fl_robot_ros.cloud.checkpoint import newest_checkpoint
from fl_robot_ros.cloud.gate import Gate
from fl_robot_ros.cloud.history import (
    FAILED,
    FINISHED,
    INTERRUPTED,
    RUNNING,
    History,
    RunRecord,
)
from fl_robot_ros.cloud.readiness import check_readiness
from fl_robot_ros.cloud.server_app import CHECKPOINTS, SETTINGS_FILE
from fl_robot_ros.cloud.superlink import LOG_FILE, SuperLink
from fl_robot_ros.config import ServerSettings, expand_path
from fl_robot_ros.errors import RunFailedError, SettingError

_POLL_SEC = 0.1
_SERVER_APP_START_SEC = 120.0
_SERVER_APP_STOP_SEC = 10.0
_MAX_RESTARTS = 3


class FleetServer:
    """Serves a fleet until its runs are done or somebody stops it."""

    def __init__(
        self, settings: ServerSettings, say: Callable[[str], None], stop: threading.Event
    ) -> None:
        """Prepare the state folder.

        Args:
            settings: The server's settings.
            say: Takes each line for the operator.
            stop: Ends the server when set.

        Raises:
            SettingError: The state folder cannot be used.
        """
        self._settings = settings
        self._say = say
        self._stop = stop
        self.state_dir = expand_path(settings.state_dir)
        try:
            self.state_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingError(f"state_dir {self.state_dir} cannot be used: {error}") from error
        self._last_event = 0

    def serve(self) -> bool:
        """Do one run, or with `continuous` run after run; return whether the last one succeeded.

        Raises:
            SettingError: Another server uses the state folder, what the settings name is not as
                it must be, or nobody can listen on the address.
            RunFailedError: The SuperLink does not start.
        """
        with self._locked(), History(self.state_dir) as history:
            check_readiness(self._settings, self.state_dir / CHECKPOINTS)
            self._write_settings()
            self._last_event = history.last_event_id()
            self._end_left_over(history)
            with Gate(self._settings) as gate, SuperLink(self.state_dir) as superlink:
                gate.serve(superlink.port)
                self._say(
                    f"serving robots on {gate.address}, state in {self.state_dir}, log in "
                    f"{LOG_FILE}"
                )
                succeeded = self._serve_run(superlink, history)
                while self._settings.continuous and not self._stop.is_set():
                    succeeded = self._serve_run(superlink, history)
                self._interrupt(history)
            return succeeded

    def _serve_run(self, superlink: SuperLink, history: History) -> bool:
        """Do one run, taking it up again where something died; return whether it succeeded."""
        record = self._begin_or_resume(history)
        for restart in range(_MAX_RESTARTS + 1):
            if self._stop.is_set():
                return False
            if not superlink.running:
                self._say("the SuperLink ended; starting it again")
                superlink.start()
            history.set_process(record.run, None)
            superlink.submit(record.run)
            status, reason = self._follow(superlink, history, record.run)
            if status == FINISHED:
                self._say(f"run {record.run} finished; checkpoints in {CHECKPOINTS}/")
                return True
            if self._stop.is_set():
                return False
            if status == FAILED:
                self._say(f"run {record.run} failed: {reason}")
                if self._settings.continuous:
                    self._stop.wait(10.0)
                return False
            self._say(f"run {record.run} was interrupted: {reason}")
            if restart < _MAX_RESTARTS:
                self._say("going on from the newest checkpoint")
        history.end_run(record.run, FAILED, f"interrupted {_MAX_RESTARTS + 1} times")
        return False

    def _begin_or_resume(self, history: History) -> RunRecord:
        """Return the run to do: the unfinished one, or a new one after the newest checkpoint."""
        last = history.last_run()
        model, _ = newest_checkpoint(self.state_dir / CHECKPOINTS)
        done = model.server_round if model else 0
        if last and last.status in (RUNNING, INTERRUPTED):
            self._say(f"resuming run {last.run} after round {done} of {last.last_round}")
            return last
        run = history.begin_run(done + 1, done + self._settings.num_rounds)
        record = history.run(run)
        if record is None:
            raise RunFailedError(f"run {run} could not be noted in the history")
        self._say(f"run {run}: rounds {record.first_round} to {record.last_round}")
        return record

    def _follow(self, superlink: SuperLink, history: History, run: int) -> tuple[str, str]:
        """Print what happens until the run ends; return how it did, and why."""
        started = time.monotonic()
        while not self._stop.wait(_POLL_SEC):
            self._print_events(history)
            record = history.run(run)
            if record is None or record.status in (FINISHED, FAILED):
                self._print_events(history)
                return (record.status, record.reason) if record else (FAILED, "not in the history")
            if record.pid is not None and not _alive(record.pid):
                return self._end_of_dead_run(history, run)
            if not superlink.running:
                self._end_server_app(history, run)
                return INTERRUPTED, "the SuperLink ended"
            if record.pid is None and time.monotonic() - started > _SERVER_APP_START_SEC:
                return FAILED, f"the ServerApp does not start, see {self.state_dir / LOG_FILE}"
        return INTERRUPTED, "the server was stopped"

    def _end_of_dead_run(self, history: History, run: int) -> tuple[str, str]:
        """Return how a run ended whose process is gone: it may just have finished."""
        self._print_events(history)
        record = history.run(run)
        if record is not None and record.status in (FINISHED, FAILED):
            return record.status, record.reason
        return INTERRUPTED, "the ServerApp's process ended"

    def _interrupt(self, history: History) -> None:
        """Note that the run in progress was left, and end its process."""
        last = history.last_run()
        if last is not None and last.status == RUNNING:
            self._end_server_app(history, last.run)
            history.end_run(last.run, INTERRUPTED, "the server was stopped")
            self._say(f"run {last.run} left; starting the server again takes it up")

    def _end_left_over(self, history: History) -> None:
        """End the ServerApp that a killed server may have left running."""
        last = history.last_run()
        if last is not None and last.status == RUNNING:
            self._end_server_app(history, last.run)

    def _end_server_app(self, history: History, run: int) -> None:
        """End the ServerApp's process, gently at first."""
        record = history.run(run)
        if record is None or record.pid is None or not _is_server_app(record.pid):
            return
        deadline = time.monotonic() + _SERVER_APP_STOP_SEC
        number = signal.SIGTERM
        while _is_server_app(record.pid):
            try:
                os.kill(record.pid, number)
            except ProcessLookupError:
                return
            if time.monotonic() > deadline:
                number = signal.SIGKILL
            time.sleep(_POLL_SEC)

    def _print_events(self, history: History) -> None:
        for number, text in history.events_after(self._last_event):
            self._say(text)
            self._last_event = number

    def _write_settings(self) -> None:
        """Hand the settings to the ServerApp, with absolute paths."""
        values = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in vars(self._settings).items()
        }
        if self._settings.initial_model:
            values["initial_model"] = str(expand_path(self._settings.initial_model))
        (self.state_dir / SETTINGS_FILE).write_text(
            yaml.safe_dump(values, sort_keys=False), encoding="utf-8"
        )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other servers away from the state folder.

        Raises:
            SettingError: Another one is there, or the folder cannot be written.
        """
        try:
            lock = (self.state_dir / ".lock").open("w")
        except OSError as error:
            raise SettingError(f"state_dir {self.state_dir} cannot be used: {error}") from error
        with lock as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise SettingError(
                    f"another fl_server uses state_dir {self.state_dir}; stop it or name another"
                ) from error
            yield


def _alive(pid: int) -> bool:
    """Return whether a process lives (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):
        return False


def _is_server_app(pid: int) -> bool:
    """Return whether a process is a Flower ServerApp, so that no stranger is ever killed."""
    try:
        return b"serverapp" in Path(f"/proc/{pid}/cmdline").read_bytes() and _alive(pid)
    except OSError:
        return False
