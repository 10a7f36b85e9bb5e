"""What all commands do alike."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("program", "code"), [("dataset", 130), ("predict", 130), ("server", 130), ("client", 0)]
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
