"""The server process: a SuperLink, one run after another, and a line about each round.

A run goes on from its newest checkpoint after the end of a ServerApp, of the SuperLink or of this
process.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from fl_robot_ros.atomic_file import staging_file
from fl_robot_ros.cloud.admission import Admission
from fl_robot_ros.cloud.checkpoint import newest_checkpoint
from fl_robot_ros.cloud.gate import Gate
from fl_robot_ros.cloud.history import History, RunRecord, RunStage, set_aside
from fl_robot_ros.cloud.initial_model_check import check_initial_model
from fl_robot_ros.cloud.readiness import (
    check_readiness,
    describe_risks,
    load_tls,
    open_keys,
)
from fl_robot_ros.cloud.refusal_log import RefusalLog
from fl_robot_ros.cloud.rendezvous import Rendezvous
from fl_robot_ros.cloud.schedule import Schedule
from fl_robot_ros.cloud.server_app import CHECKPOINTS, SETTINGS_FILE
from fl_robot_ros.cloud.superlink import LOG_FILE, SuperLink
from fl_robot_ros.config import ServerSettings, expand_path
from fl_robot_ros.errors import HistoryDamagedError, RunFailedError, SettingError
from fl_robot_ros.process_lock import ProcessLock

_POLL_SEC = 0.1
_SERVER_APP_START_SEC = 120.0
_SERVER_APP_STOP_SEC = 10.0
_MAX_RESTARTS = 3


class FleetServer:
    """Serves a fleet until its runs are done or `stop` is set."""

    def __init__(
        self, settings: ServerSettings, say: Callable[[str], None], stop: threading.Event
    ) -> None:
        """Create the state folder.

        Args:
            settings: The server's settings.
            say: Prints a line for the operator.
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
        """Do one run, or run after run; return whether the last one succeeded.

        Raises:
            SettingError: Another server uses the state folder, or a file, model, address or port
                that the settings name cannot be used.
            RunFailedError: The SuperLink does not start.
        """
        with self._locked(), self._open_history() as history:
            check_readiness(self._settings, self.state_dir / CHECKPOINTS)
            self._check_checkpoints(history)
            self._check_initial_model()
            self._write_settings()
            self._last_event = history.last_event_id()
            history.set_absent({})
            self._end_left_over(history)
            refusals = RefusalLog(self._say)
            keys = open_keys(self._settings)
            admission = Admission(keys.robots_file, refusals) if keys else None
            with (
                Gate(self._settings, load_tls(self._settings), admission, refusals) as gate,
                SuperLink(self.state_dir, gate.notice_fd) as superlink,
                # Closed before the SuperLink ends: a robot takes a closed port for the end.
                gate.serving(superlink.port),
            ):
                for risk in describe_risks(self._settings):
                    self._say(risk)
                self._say(
                    f"serving robots on {gate.address}, state in {self.state_dir}, log in "
                    f"{LOG_FILE}"
                )
                succeeded = self._serve_runs(gate, superlink, history)
                self._interrupt(history)
            return succeeded

    def _open_history(self) -> History:
        """Return the history; a damaged one is set aside, since the checkpoints are the truth.

        Raises:
            RunFailedError: The history cannot be used.
        """
        try:
            history = History(self.state_dir)
            try:
                history.check()
                return history
            except HistoryDamagedError:
                history.close()
                raise
        except HistoryDamagedError as error:
            aside = set_aside(self.state_dir)
            self._say(f"{error}; it is kept as {aside.name}, and a new one begins")
        return History(self.state_dir)

    def _serve_runs(self, gate: Gate, superlink: SuperLink, history: History) -> bool:
        """Do one run, or one after another; return whether the last one succeeded.

        An unfinished run goes on at once, whatever the schedule says; one without rounds, to
        deliver, is not repeated.
        """
        repeats = self._settings.num_rounds > 0
        schedule = Schedule(self._settings.schedule if repeats else ())
        rendezvous = Rendezvous(schedule, history, self._say, self._stop)
        succeeded = True
        while not self._stop.is_set():
            if schedule and not _is_unfinished(history.last_run()) and not rendezvous.wait(gate):
                break
            succeeded = self._serve_run(gate, superlink, history)
            if not schedule and not (self._settings.continuous and repeats):
                break
        return succeeded

    def _serve_run(self, gate: Gate, superlink: SuperLink, history: History) -> bool:
        """Do one run, with restarts after an interruption; return whether it succeeded."""
        record = self._begin_or_resume(history)
        for restart in range(_MAX_RESTARTS + 1):
            if self._stop.is_set():
                return False
            if not superlink.running:
                self._say("the SuperLink ended; starting it again")
                superlink.start()
            history.set_process(record.run, None)
            superlink.submit(record.run)
            stage, reason = self._follow(gate, superlink, history, record)
            if stage == RunStage.FINISHED:
                self._say(f"run {record.run} finished; checkpoints in {CHECKPOINTS}/")
                return True
            if self._stop.is_set():
                return False
            if stage == RunStage.FAILED:
                self._say(f"run {record.run} failed: {reason}")
                if self._settings.continuous:
                    self._stop.wait(10.0)
                return False
            self._say(f"run {record.run} was interrupted: {reason}")
            if restart < _MAX_RESTARTS:
                self._say("going on from the newest checkpoint")
                self._forget_run(superlink)
        history.end_run(record.run, RunStage.FAILED, f"interrupted {_MAX_RESTARTS + 1} times")
        return False

    def _forget_run(self, superlink: SuperLink) -> None:
        """End what is left of a run in the SuperLink: robots would wait for it."""
        try:
            if superlink.running:
                superlink.withdraw()
        except RunFailedError as error:
            self._say(str(error))

    def _check_checkpoints(self, history: History) -> None:
        """Check that the model of the rounds done is there, before a new one takes its place.

        Raises:
            SettingError: There were rounds, and no checkpoint can be read.
        """
        rounds = history.rounds()
        model, complaints = newest_checkpoint(self.state_dir / CHECKPOINTS)
        if rounds and model is None:
            raise SettingError(
                f"state_dir {self.state_dir} has a history of {rounds[-1].round} rounds, and no "
                f"checkpoint that can be read{''.join(f'; {text}' for text in complaints)}; put "
                f"{CHECKPOINTS}/ back, or begin anew with another state_dir"
            )

    def _check_initial_model(self) -> None:
        """Check the operator's model, where there is no checkpoint that goes on.

        Raises:
            SettingError: Robots could not use the model.
        """
        path = self._settings.initial_model
        if path and newest_checkpoint(self.state_dir / CHECKPOINTS)[0] is None:
            self._say(f"checking that {path} can be delivered to robots")
            check_initial_model(self._settings, self._stop)

    def _begin_or_resume(self, history: History) -> RunRecord:
        """Return the run to do: the unfinished one, or a new one after the newest checkpoint."""
        last = history.last_run()
        model, _ = newest_checkpoint(self.state_dir / CHECKPOINTS)
        done = model.server_round if model else 0
        if model and self._settings.initial_model:
            self._say(
                f"the checkpoint of round {done} goes on; initial_model is for a new state_dir"
            )
        settings = _as_plain(self._settings)
        if last and _is_unfinished(last):
            self._say(f"resuming run {last.run} after round {done} of {last.last_round}")
            for line in _changes(last.settings, settings):
                self._say(line)
            history.resume_run(last.run, settings)
            return last
        run = history.begin_run(done + 1, done + self._settings.num_rounds, settings)
        record = history.run(run)
        if record is None:
            raise RunFailedError(f"run {run} could not be noted in the history")
        rounds = f"rounds {record.first_round} to {record.last_round}"
        what = rounds if self._settings.num_rounds else "no round, the released model alone"
        self._say(f"run {run}: {what}")
        return record

    def _follow(
        self, gate: Gate, superlink: SuperLink, history: History, record: RunRecord
    ) -> tuple[RunStage, str]:
        """Print new lines until the run ends; return how it ended, and why."""
        started = time.monotonic()
        record = replace(record, pid=None)
        absent: dict[bytes, float] = {}
        while not self._stop.wait(_POLL_SEC):
            if absent != (absent := gate.presence.absent()):
                history.set_absent(absent)
            is_dead = record.pid is not None and not _alive(record.pid)
            record = history.run(record.run) or record
            gate.limit_replies(record.model_bytes)
            self._print_events(history)
            if record.stage in (RunStage.FINISHED, RunStage.FAILED):
                return record.stage, record.reason
            if is_dead:
                return RunStage.INTERRUPTED, "the ServerApp's process ended"
            if not superlink.running:
                self._end_server_app(history, record.run)
                return RunStage.INTERRUPTED, "the SuperLink ended"
            if record.pid is None and time.monotonic() - started > _SERVER_APP_START_SEC:
                log_path = self.state_dir / LOG_FILE
                return RunStage.FAILED, f"the ServerApp does not start, see {log_path}"
        return RunStage.INTERRUPTED, "the server was stopped"

    def _interrupt(self, history: History) -> None:
        """End the process of the run in progress, and note the interruption."""
        last = history.last_run()
        if last is not None and last.stage == RunStage.RUNNING:
            self._end_server_app(history, last.run)
            history.end_run(last.run, RunStage.INTERRUPTED, "the server was stopped")
            self._say(f"run {last.run} interrupted; the next start of the server resumes it")

    def _end_left_over(self, history: History) -> None:
        """End the ServerApp that a killed server may have left running."""
        last = history.last_run()
        if last is not None and last.stage == RunStage.RUNNING:
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
        """Hand the settings to the ServerApp, with absolute paths.

        Raises:
            SettingError: The folder cannot be written.
        """
        values = _as_plain(self._settings)
        for name in ("initial_model", "keys_dir"):
            if values[name]:
                values[name] = str(expand_path(values[name]))
        try:
            with staging_file(self.state_dir / SETTINGS_FILE) as file:
                file.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
        except OSError as error:
            raise SettingError(f"state_dir {self.state_dir} cannot be used: {error}") from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other servers away from the state folder.

        Raises:
            SettingError: Another server uses the folder, or it cannot be written.
        """
        try:
            lock = ProcessLock(self.state_dir / ".lock")
            is_free = lock.acquire()
        except OSError as error:
            raise SettingError(f"state_dir {self.state_dir} cannot be used: {error}") from error
        try:
            if not is_free:
                raise SettingError(
                    f"another fl_server uses state_dir {self.state_dir}; stop it or name another"
                )
            yield
        finally:
            lock.close()


def _as_plain(settings: ServerSettings) -> dict[str, Any]:
    """Return settings as values for JSON and YAML."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in vars(settings).items()
    }


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return lines about the settings that a resumed run did not begin with."""
    changed = [name for name in now if name in before and before[name] != now[name]]
    lines = [
        f"{name} is {now[name]!r} from here on, {before[name]!r} before"
        for name in changed
        if name not in ("num_rounds", "initial_model")
    ]
    if "num_rounds" in changed:
        lines.append("num_rounds does not change a run that has begun; it is for the next one")
    return lines


def _is_unfinished(run: RunRecord | None) -> bool:
    """Return whether a run goes on with the next start of the server."""
    return run is not None and run.stage in (RunStage.RUNNING, RunStage.INTERRUPTED)


def _alive(pid: int) -> bool:
    """Return whether a process lives (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):
        return False


def _is_server_app(pid: int) -> bool:
    """Return whether a process is a Flower ServerApp: its number may belong to another now."""
    try:
        return b"serverapp" in Path(f"/proc/{pid}/cmdline").read_bytes() and _alive(pid)
    except OSError:
        return False
