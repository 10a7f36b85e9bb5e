"""A child process of a benchmark, and what it and its own children cost."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_TICKS_PER_SEC = os.sysconf("SC_CLK_TCK")
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 1e6
_STOP_SEC = 30.0


@dataclass(frozen=True)
class Usage:
    """Processor time in s and resident memory in MB of some processes, so far."""

    cpu_sec: float = 0.0
    memory_mb: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.cpu_sec + other.cpu_sec, self.memory_mb + other.memory_mb)


class Child:
    """A process with its output in a file, ended by its own handle."""

    def __init__(self, command: Sequence[str], log: Path, **options: Any) -> None:
        self.log = log
        environment = {
            **os.environ,
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "PYTHONUNBUFFERED": "1",
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            **options.pop("env", {}),
        }
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment,
                # A Ctrl-C in the terminal reaches the benchmark alone, which ends its children.
                start_new_session=True,
                **options,
            )
        self.pid = self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Exit code, None while it runs."""
        return self._process.poll()

    @property
    def text(self) -> str:
        """What it wrote so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    @property
    def last_line(self) -> str:
        """The last line that it wrote."""
        return (self.text.strip().splitlines() or ["nothing"])[-1].strip()

    def kill(self) -> None:
        """End the process as a lost battery does."""
        self._process.kill()
        self._process.wait()

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End the process, gently at first."""
        if self.exit_code is None:
            self._process.send_signal(number)
            try:
                self._process.wait(_STOP_SEC)
            except subprocess.TimeoutExpired:
                self.kill()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def usage_by_command(root: int, names: dict[str, str]) -> dict[str, Usage]:
    """Return what a process and its descendants use, summed by what their command lines contain.

    Args:
        root: Number of the process.
        names: Names of the sums by a part of the command line; the first that matches counts, and
            "" matches every process.
    """
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields:
                parents.setdefault(int(fields[1]), []).append(int(entry.name))
    sums = dict.fromkeys(names.values(), Usage())
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        waiting += parents.get(pid, [])
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (OSError, UnicodeDecodeError):
            continue
        for part, name in names.items():
            if part in command:
                sums[name] += usage(pid)
                break
    return sums


def usage(pid: int) -> Usage:
    """Return what one process uses."""
    fields = _stat(pid)
    if not fields:
        return Usage()
    # As in proc_pid_stat(5), counted from the state: utime, stime and rss.
    ticks, pages = int(fields[11]) + int(fields[12]), int(fields[21])
    return Usage(ticks / _TICKS_PER_SEC, pages * _PAGE_MB)


def busy_sec(pid: int) -> float:
    """Return the processor time of a process's threads so far in s, to the nanosecond."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except OSError:
            continue  # the thread has ended
    return total / 1e9


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on, none if the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
