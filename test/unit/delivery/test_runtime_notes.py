"""One line of LiteRT is dropped, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress

import pytest

from fl_robot_ros.delivery import runtime_notes

NOTE = b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n"


def test_only_the_note_is_dropped_and_only_once(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime_notes, "_is_over", False)
    with suppress(ValueError), runtime_notes.without_note():
        os.write(2, b"WARNING: slow\n" + NOTE + b"ERROR: no such operation\nand half a li")
        raise ValueError
    os.write(2, b"ne\n")
    assert capfd.readouterr().err == "WARNING: slow\nERROR: no such operation\nand half a line\n"
    with runtime_notes.without_note():
        os.write(2, NOTE)
    assert capfd.readouterr().err == NOTE.decode()


def test_a_closed_error_stream_is_no_trouble() -> None:
    script = """
import os
from fl_robot_ros.delivery.runtime_notes import without_note
os.close(2)
with without_note():
    print("done")
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "done\n"
