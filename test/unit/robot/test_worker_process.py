"""Workers as real processes, of a Python that follows a script."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from worker_job import make_job

from fl_robot_ros.robot.worker_process import WorkerProcess
from fl_robot_ros.worker_link.event import Event, Failed, Reading

DEADLINE_SEC = 60.0


class Run:
    """A worker process, its events and its end."""

    def __init__(self, tmp_path: Path, script: str, cancel_timeout_sec: float = 15.0) -> None:
        python = tmp_path / "script"
        python.write_text(f"#!/bin/sh\n{script}\n")
        python.chmod(0o755)
        self.events: list[Event] = []
        self.endings: list[str] = []
        self.heard, self.ended = threading.Event(), threading.Event()
        self.process = WorkerProcess(
            python,
            tmp_path,
            make_job(tmp_path),
            self._on_event,
            self._on_exit,
            cancel_timeout_sec=cancel_timeout_sec,
        )

    def _on_event(self, event: Event) -> None:
        self.events.append(event)
        self.heard.set()

    def _on_exit(self, how: str) -> None:
        self.endings.append(how)
        self.ended.set()


READING = """echo '{"event": "reading", "source": "x"}'"""


def test_events_come_before_the_end_and_other_lines_do_no_harm(tmp_path: Path) -> None:
    noise = "printf 'noise \\377\\n'; echo '{\"event\": \"rejoiced\"}'"
    run = Run(tmp_path, f"""{noise}; {READING}; echo '{{"event": "failed", "reason": "y"}}'""")
    assert run.ended.wait(DEADLINE_SEC)
    assert run.events == [Reading("x"), Failed("y")]
    assert run.endings == [f"the worker ended with exit code 0, see {tmp_path / 'worker.log'}"]


@pytest.mark.parametrize(
    ("script", "ending"),
    [
        ("exit 7", "the worker ended with exit code 7, see "),
        ("kill -KILL $$", "the worker was killed by SIGKILL, perhaps for want of memory, see "),
        ("kill -SEGV $$", "the worker was killed by SIGSEGV, see "),
    ],
)
def test_the_end_is_told_in_words(tmp_path: Path, script: str, ending: str) -> None:
    run = Run(tmp_path, script)
    assert run.ended.wait(DEADLINE_SEC)
    assert run.endings == [f"{ending}{tmp_path / 'worker.log'}"]


def test_a_worker_reads_its_job_and_then_the_cancellation(tmp_path: Path) -> None:
    run = Run(tmp_path, f"read job; {READING}; read line; echo $job $line > {tmp_path}/heard")
    assert run.heard.wait(DEADLINE_SEC)
    run.process.cancel()
    run.process.cancel()
    assert run.ended.wait(DEADLINE_SEC)
    assert (tmp_path / "heard").read_text() == f"{make_job(tmp_path).to_json()} cancel\n"


def test_a_worker_reads_why_it_shall_pause_and_that_it_may_go_on(tmp_path: Path) -> None:
    listen = f"read job; read one; read two; echo $one, $two > {tmp_path}/heard"
    run = Run(tmp_path, listen)
    run.process.pause("battery 0.31,\nneeds >= 0.4")
    run.process.resume()
    assert run.ended.wait(DEADLINE_SEC)
    assert (tmp_path / "heard").read_text() == "pause battery 0.31, needs >= 0.4, resume\n"


def test_a_cancelled_worker_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    run = Run(tmp_path, f"{READING}; exec sleep 1000", cancel_timeout_sec=0.1)
    assert run.heard.wait(DEADLINE_SEC)
    assert not run.ended.wait(0.3)
    run.process.cancel()
    assert run.ended.wait(DEADLINE_SEC)
    assert "killed by SIGKILL" in run.endings[0]


def test_stop_kills_a_worker_that_does_not_listen(tmp_path: Path) -> None:
    run = Run(tmp_path, f"{READING}; exec sleep 1000")
    assert run.heard.wait(DEADLINE_SEC)
    run.process.stop()
    assert len(run.endings) == 1
