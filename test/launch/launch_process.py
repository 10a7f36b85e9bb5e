"""A launch file under test, in a process of its own; its output goes to a file."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


class Launch:
    """A launch file in a process of its own, as `ros2 launch` runs it."""

    def __init__(
        self,
        file: Path,
        arguments: list[str],
        env: Mapping[str, str],
        log: Path,
        prefix: Sequence[str] = (),
    ):
        self._log = log
        runner = Path(__file__).with_name("launch_runner.py")
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                [*prefix, sys.executable, str(runner), str(file), *arguments],
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=dict(env),
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        """What launch and its nodes have written so far."""
        return self._log.read_text(errors="replace")

    @property
    def node_pids(self) -> list[int]:
        """The processes of the nodes, in the order of their start."""
        return [int(pid) for pid in re.findall(r"process started with pid \[(\d+)\]", self.output)]

    def interrupt(self, *, everybody: bool = False) -> int:
        """Send SIGINT to launch, or as a terminal does to its nodes too; return the exit code."""
        if everybody:
            os.killpg(self.process.pid, signal.SIGINT)
        else:
            self.process.send_signal(signal.SIGINT)
        return self.wait()

    def wait(self, timeout_sec: float = 30.0) -> int:
        """Wait for launch to end; return its exit code."""
        try:
            return self.process.wait(timeout_sec)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"still running after {timeout_sec} s:\n{self.output}") from error

    def close(self) -> None:
        """End launch and its nodes whatever they do."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
