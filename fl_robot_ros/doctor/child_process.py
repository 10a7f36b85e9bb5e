"""Child processes for checks that may crash, hang, or need another Python."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress

# Select Graphic Rendition of ECMA-48.
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")

_running: set[subprocess.Popen[str]] = set()


def run_child(
    command: Sequence[str],
    timeout_sec: float,
    environment: Mapping[str, str] | None = None,
    text: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end.

    Args:
        command: Program and arguments.
        timeout_sec: When it is killed.
        environment: Its environment variables; None: those of this process.
        text: What it reads.

    Raises:
        OSError: It cannot be started.
        subprocess.TimeoutExpired: It was killed.
    """
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        encoding="utf-8",
        errors="replace",
    ) as process:
        _running.add(process)
        try:
            output, errors = process.communicate(text, timeout=timeout_sec)
        except BaseException:
            process.kill()
            raise
        finally:
            _running.discard(process)
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """Return why a program failed: the last line of its errors without colours, or its exit."""
    lines = _COLOUR.sub("", done.stderr).strip().splitlines()
    return lines[-1] if lines else f"exit code {done.returncode}"


def kill_children() -> None:
    """Kill the programs that still run."""
    for process in list(_running):
        with suppress(OSError):
            process.kill()
