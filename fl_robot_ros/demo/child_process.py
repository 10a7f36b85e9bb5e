"""A process of the demonstration, with its output in a log file."""

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
    """One Python module in a process of its own."""

    def __init__(self, name: str, module: str, arguments: Sequence[str], log_dir: Path) -> None:
        """Start the process.

        Args:
            name: Name of the log file, without suffix.
            module: Python module to run, as by `python -m`.
            arguments: Arguments of its command line.
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
                # Ctrl-C in the terminal reaches the demonstration alone, which stops the others.
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1", END_WITH_PARENT: "1"},
            )

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
        """Wait until the process exits with code 0.

        Raises:
            RunFailedError: The process exits with another code, or runs on after the timeout.
        """
        try:
            code = self._process.wait(timeout_sec)
        except subprocess.TimeoutExpired as error:
            raise RunFailedError(
                f"{self.name} is still running after {timeout_sec:g} s"
            ) from error
        if code != 0:
            raise RunFailedError(f"{self.name} ended with exit code {code}: {self.tail()}")

    def stop(self) -> int:
        """Stop the process by SIGINT, else SIGTERM, else SIGKILL; return its exit code."""
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
        """Return the last lines of the log, joined to one line."""
        text = self.log_path.read_text(encoding="utf-8", errors="replace")
        return " | ".join(line.strip() for line in text.strip().splitlines()[-_TAIL_LINES:])
