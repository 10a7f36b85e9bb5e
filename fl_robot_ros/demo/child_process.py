"""A process of the demonstration, with its output in a file and an end that is certain."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from fl_robot_ros.errors import RunFailedError
from fl_robot_ros.ros.parent import END_WITH_PARENT

_STOP_TIMEOUT_SEC = 15.0
_TAIL_LINES = 5


class ChildProcess:
    """One program of this environment, known by its handle alone."""

    def __init__(self, name: str, module: str, arguments: Sequence[str], log_dir: Path) -> None:
        """Start it.

        Args:
            name: Name of its log file, without ending.
            module: Python module to run, as by `python -m`.
            arguments: Its command line.
            log_dir: Existing folder for the log.
        """
        self.name = name
        self.log_path = log_dir / f"{name}.log"
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A Ctrl-C in the terminal is for the demonstration, which ends its processes.
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1", END_WITH_PARENT: "1"},
            )

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Exit code, None while it runs."""
        return self._process.poll()

    def check_running(self) -> None:
        """Raise RunFailedError if the process has ended."""
        if self.exit_code is not None:
            raise RunFailedError(
                f"{self.name} ended with exit code {self.exit_code}: {self.tail()}"
            )

    def wait(self, timeout_sec: float) -> None:
        """Wait for a regular end.

        Raises:
            RunFailedError: It does not end in time, or not with exit code 0.
        """
        try:
            code = self._process.wait(timeout_sec)
        except subprocess.TimeoutExpired as error:
            raise RunFailedError(f"{self.name} does not end after {timeout_sec:g} s") from error
        if code != 0:
            raise RunFailedError(f"{self.name} ended with exit code {code}: {self.tail()}")

    def stop(self) -> int:
        """End the process as Ctrl-C does, by force if need be; return its exit code."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is not None:
                break
            self._process.send_signal(number)
            try:
                self._process.wait(_STOP_TIMEOUT_SEC)
            except subprocess.TimeoutExpired:
                continue
        return self._process.wait()

    def tail(self) -> str:
        """Return the last lines of the log as one."""
        text = self.log_path.read_text(encoding="utf-8", errors="replace")
        return " | ".join(line.strip() for line in text.strip().splitlines()[-_TAIL_LINES:])
