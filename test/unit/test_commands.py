"""What all commands do alike: where they start, and what they show on a terminal."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from fl_robot_ros.cli.demo import main as demo


def on_terminal(command: Sequence[str], errors: Path | None = None) -> str:
    """Return what a command shows on a terminal; its errors may go to a file instead."""
    ours, theirs = pty.openpty()
    with open(errors or os.devnull, "wb") as file:
        child = subprocess.Popen(command, stdout=theirs, stderr=file if errors else theirs)
    os.close(theirs)
    text = b""
    try:
        while chunk := os.read(ours, 65536):
            text += chunk
    except OSError:
        pass  # Linux says so when the other end is closed.
    finally:
        os.close(ours)
    assert child.wait(60) == 0
    return text.decode()


_TALK = """
import logging, os, sys
from rich.console import Console
from fl_robot_ros.cli.terminal import progress
with progress(Console(), "working"):
    os.write(2, b"a library's words")
    logging.warning("a warning")
print("the end", file=sys.stderr)
"""


def test_a_bar_is_not_broken_by_what_libraries_write(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _TALK]
    text = on_terminal(command)
    assert "working" in text
    assert "a warning" in text
    assert "the end" in text
    assert "a library's words" not in text
    # Nothing is lost where there is no bar to break.
    on_terminal(command, tmp_path / "errors")
    assert "a library's words" in (tmp_path / "errors").read_text()
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == ""
    for words in ("a library's words", "a warning", "the end"):
        assert words in done.stderr


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("dataset", 130),
        ("predict", 130),
        ("server", 130),
        ("keys", 130),
        ("model", 130),
        ("client", 0),
    ],
)
def test_an_interrupt_while_a_program_loads_leaves_no_traceback(program: str, code: int) -> None:
    if program == "client":
        pytest.importorskip("rclpy", reason="needs rclpy: ROS 2 or PyPI's ROS wheels")
    # Python then says on the error stream which modules it has loaded.
    script = f"import sys; from fl_robot_ros.cli.start import {program}; sys.exit({program}())"
    child = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-c", script],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # A job in the background inherits that interrupts are ignored; a person's does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert child.stderr
        while not child.stderr.readline().endswith(" fl_robot_ros.cli.start\n"):
            assert child.poll() is None
        child.stderr.readline()  # The first module of the program itself.
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=60)
    finally:
        child.kill()
        child.wait()
    assert "Traceback" not in errors
    assert child.returncode == code


@pytest.mark.parametrize(
    "line",
    ["--frames x", "--frames 0", "--seed -1", "--playback-speed nan", "--out-dir ~nobody_/x"],
)
def test_the_demo_says_what_is_wrong_with_a_value(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        demo(line.split())
    assert exit_.value.code == 2
    error = capsys.readouterr().err
    assert "usage: fl_demo" in error
    assert "invalid" not in error
