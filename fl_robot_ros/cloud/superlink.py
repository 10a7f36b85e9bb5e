"""A SuperLink as a child process, and the submission of runs."""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from fl_robot_ros.errors import RunFailedError
from fl_robot_ros.paths import share_path

_START_TIMEOUT_SEC = 60.0
_STOP_TIMEOUT_SEC = 10.0
_COMMAND_TIMEOUT_SEC = 120.0
_POLL_SEC = 0.1
_PR_SET_PDEATHSIG = 1
_CONNECTION = "fleet"
_HOST = "127.0.0.1"

_RUN_ID = re.compile(r'"run-id": "?(\d+)"?')

LOG_FILE = "superlink.log"
# Environment variable: descriptor of a pipe to the gate.
NOTICE_FD = "FL_ROBOT_ROS_NOTICE_FD"
# What the pipe takes: the SuperLink has begun; a ServerApp has sent something.
STARTED, CHANGED = b"s", b"c"


class SuperLink:
    """One SuperLink. It ends with the process that started it.

    It listens on the loopback interface, serves processes of its own user only, and keeps its
    state in memory: after a restart robots connect anew, and runs go on from their checkpoints.
    """

    def __init__(self, state_dir: Path, notice_fd: int | None = None) -> None:
        """Start nothing yet.

        Args:
            state_dir: Folder of Flower's own files and the log.
            notice_fd: Descriptor of a pipe to the gate, which takes `STARTED` and `CHANGED`.
        """
        self._state_dir = state_dir
        self._process: subprocess.Popen[bytes] | None = None
        self._notice_fd = notice_fd
        self._run_id = ""
        self.port = _free_port()
        self._environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "FLWR_HOME": str(state_dir / "flwr"),
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            # Delays the start of a ServerApp; each poll costs the SuperLink some 15 ms.
            "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.5",
        }

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the SuperLink and wait until it takes connections.

        Raises:
            RunFailedError: The SuperLink does not start.
        """
        self._write_connection()
        command = [
            sys.executable,
            "-m",
            "fl_robot_ros.cloud.superlink_process",
            "--insecure",  # plain HTTP
            "--host",
            _HOST,
            "--port",
            str(self.port),
            "--disable-runtime-dependency-installation",
        ]
        environment = dict(self._environment)
        if self._notice_fd is not None:
            environment[NOTICE_FD] = str(self._notice_fd)
        log_path = self._state_dir / LOG_FILE
        with log_path.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                pass_fds=() if self._notice_fd is None else (self._notice_fd,),
                # A Ctrl-C in the terminal reaches fl_server alone, which ends its children.
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
        deadline = time.monotonic() + _START_TIMEOUT_SEC
        while not self._listens():
            if not self.running or time.monotonic() > deadline:
                self.stop()
                raise RunFailedError(
                    f"the SuperLink does not start on {_HOST}:{self.port}: "
                    f"{_last_line(log_path)} (more in {log_path})"
                )
            time.sleep(_POLL_SEC)

    def submit(self, run: int) -> None:
        """Submit a run of the package's app.

        Args:
            run: Number of the run in the history.

        Raises:
            RunFailedError: The SuperLink does not take the run.
        """
        config = f"state-dir={json.dumps(str(self._state_dir))} run={run}"
        output = self._flwr(
            "run", str(share_path("flower_app")), _CONNECTION, "--run-config", config
        )
        found = _RUN_ID.search(output)
        self._run_id = found[1] if found else ""

    def withdraw(self) -> None:
        """Have the SuperLink end the newest run, whose ServerApp is gone.

        Else robots wait for a minute for the rest of what it was sending.

        Raises:
            RunFailedError: The SuperLink does not do it.
        """
        if self._run_id:
            self._flwr("stop", self._run_id, _CONNECTION)
            self._run_id = ""

    def _flwr(self, *arguments: str) -> str:
        """Run the command `flwr`; return its output.

        Raises:
            RunFailedError: It fails, or takes too long.
        """
        command = [str(Path(sys.executable).parent / "flwr"), *arguments, "--format", "json"]
        what = f"the SuperLink did not {arguments[0]} a run"
        try:
            result = subprocess.run(
                command,
                env=self._environment,
                cwd=self._state_dir,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_COMMAND_TIMEOUT_SEC,
                start_new_session=True,
            )
        except subprocess.TimeoutExpired as error:
            raise RunFailedError(f"{what} within {_COMMAND_TIMEOUT_SEC:g} s") from error
        if result.returncode != 0 or '"success": true' not in result.stdout:
            output = " ".join((result.stderr + result.stdout).split())
            raise RunFailedError(f"{what}: {output[-500:]}")
        return result.stdout

    def stop(self) -> None:
        """End the SuperLink, gently at first."""
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(_STOP_TIMEOUT_SEC)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._process = None

    def __enter__(self) -> SuperLink:
        """Start the SuperLink."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End the SuperLink."""
        self.stop()

    def _listens(self) -> bool:
        try:
            with socket.create_connection((_HOST, self.port), 1.0):
                return True
        except OSError:
            return False

    def _write_connection(self) -> None:
        """Write the address of this SuperLink for the `flwr` command."""
        lines = [
            f"[superlink.{_CONNECTION}]",
            f'address = "{_HOST}:{self.port}"',
            "insecure = true",
        ]
        home = Path(self._environment["FLWR_HOME"])
        home.mkdir(parents=True, exist_ok=True)
        (home / "config.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _free_port() -> int:
    """Return a free TCP port of the loopback interface."""
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


def _end_with_parent() -> None:
    """Have the kernel end this process with its parent, even after a SIGKILL."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _last_line(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1].strip()[:300] if lines else "it says nothing"
