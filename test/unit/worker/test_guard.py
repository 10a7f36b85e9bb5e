"""The end of a worker from outside of its work, in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fl_robot_ros.worker_link.event import Failed, read_event

# A process that says "ready", and is then busy for ever in native code that lets others run.
PROGRAM = """
import sys, threading
from fl_robot_ros.worker.guard import Guard
from fl_robot_ros.worker.pause import Pause
from fl_robot_ros.worker_link.event import EventWriter

class Server:
    def leave(self, reason, within_sec):
        print("left:", reason, flush=True)
        {leave}

guard = Guard(EventWriter(sys.stdout))
guard.connection = Server()
pause = Pause(EventWriter(), 120.0)
jobs = guard.obey(sys.stdin, pause)
print("ready", flush=True)
{work}
threading.Event().wait()
"""


@contextmanager
def process(work: str = "", leave: str = "") -> Iterator[subprocess.Popen[str]]:
    program = PROGRAM.format(work=work, leave=leave)
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            yield child
        finally:
            child.kill()


def output(child: subprocess.Popen[str]) -> list[str]:
    assert child.stdout is not None
    return child.stdout.read().splitlines()


def test_a_worker_pauses_goes_on_and_can_be_cancelled_in_a_pause() -> None:
    work = "while not pause._reason: pass\nprint(pause._reason, flush=True)\npause.wait()"
    with process(f"{work}\nprint('on', flush=True)\n{work}") as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write("pauses\npause goal active\n")
        child.stdin.flush()
        assert child.stdout.readline() == "goal active\n"
        child.stdin.write("resume\n")
        child.stdin.flush()
        assert child.stdout.readline() == "on\n"
        child.stdin.write("pause a reason\n")
        child.stdin.flush()
        assert child.stdout.readline() == "a reason\n"
        child.stdin.write("cancel\n")
        child.stdin.flush()
        assert output(child) == ["left: the robot left the run"]
        assert child.wait(60.0) == 3


def test_a_pause_before_a_job_is_not_one_of_its_run() -> None:
    work = """
while True:
    job = jobs.get()
    print(job.strip(), pause._reason or "goes on", flush=True)
"""
    with process(work) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write('pause goal active\n{"run": 1}\n')
        child.stdin.flush()
        assert child.stdout.readline() == '{"run": 1} goes on\n'


@pytest.mark.parametrize("leave", ["", "threading.Event().wait()", "raise RuntimeError"])
def test_a_cancelled_worker_signs_off_and_ends(leave: str) -> None:
    with process(leave=leave) as child:
        assert child.stdin is not None
        child.stdin.write("noise\ncancel\n")
        child.stdin.flush()
        assert output(child) == ["left: the robot left the run"]
        assert child.wait(60.0) == 3


def test_a_worker_ends_with_its_parent_and_at_a_signal() -> None:
    with process() as orphan, process() as terminated:
        assert orphan.stdin is not None
        orphan.stdin.close()
        os.kill(terminated.pid, signal.SIGTERM)
        assert orphan.wait(60.0) == terminated.wait(60.0) == 3


@pytest.mark.parametrize(
    ("work", "reason"),
    [
        ("guard.limit_memory(100); big = bytearray(b'x' * 200_000_000)", "more than 100 MB"),
        (
            "with guard.deadline('building the model', 0.1): threading.Event().wait()",
            "building the model takes more than 0.1 s",
        ),
    ],
)
def test_a_worker_that_needs_too_much_ends_with_the_reason(work: str, reason: str) -> None:
    with process(work) as child:
        event, left = output(child)
        assert child.wait(60.0) == 1
    failed = read_event(event)
    assert isinstance(failed, Failed)
    assert reason in failed.reason
    assert left == f"left: {failed.reason}"


def test_work_in_time_and_in_little_memory_goes_on() -> None:
    work = "guard.limit_memory(0)\nwith guard.deadline('x', 3600.0): print('done', flush=True)"
    with process(work) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "done\n"
