"""Workers that stay between runs, as real processes of a Python that follows a script."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from waiting import wait_until
from worker_job import make_job

from fl_robot_ros.robot import workers
from fl_robot_ros.robot.worker_process import WorkerProcess
from fl_robot_ros.robot.workers import Workers
from fl_robot_ros.worker_link.event import Event, Reading
from fl_robot_ros.worker_link.job import Job

# Each run tells the number of the process. A job with "mute" is its end, one with "long" has none.
SCRIPT = """#!/bin/sh
while read line; do
    case $line in
        cancel) exit 3 ;;
        *mute*) exit 7 ;;
        *long*) ;;
        *)
            echo "{\\"event\\": \\"reading\\", \\"source\\": \\"$$\\"}"
            echo '{"event": "ended"}' ;;
    esac
done
"""
OVER = "the run has ended"


@dataclass
class Run:
    """What a robot hears of its runs."""

    workers: Workers
    job: Job
    events: list[Event] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)

    def start(self, job: Job | None = None) -> WorkerProcess:
        """Start a run and wait for its end."""
        count = len(self.ends)
        worker = self.workers.start(job or self.job, self.events.append, self.ends.append)
        wait_until(lambda: len(self.ends) > count, "the end of the run")
        return worker


def make_run(folder: Path, keep_warm_sec: float) -> Run:
    script = folder / "script"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    return Run(Workers(script, folder, keep_warm_sec), make_job(folder, keep_warm=True))


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    run = make_run(tmp_path, 3600.0)
    yield run
    run.workers.stop()


def test_the_next_run_is_done_by_the_worker_of_the_run_before(run: Run) -> None:
    assert run.workers.warm_pid is None
    first = run.start()
    assert not first.is_warm
    assert run.workers.warm_pid == first.pid
    assert run.job.freeze is not None
    later = replace(run.job, freeze=replace(run.job.freeze, max_id=7))
    assert run.start(later) is first
    assert (first.is_warm, first.job) == (True, later)
    assert run.events == [Reading(str(first.pid))] * 2
    assert run.ends == [OVER] * 2


@pytest.mark.parametrize("changes", [{"threads": 3}, {"nice": 7}, {"memory_limit_mb": 99}])
def test_a_worker_that_cannot_do_a_job_makes_way_for_another(
    run: Run, changes: dict[str, object]
) -> None:
    first = run.start()
    second = run.start(replace(run.job, **changes))  # type: ignore[arg-type]
    assert second.pid != first.pid
    assert not second.is_warm
    assert not first.is_alive
    assert run.workers.warm_pid == second.pid
    assert run.ends == [OVER] * 2, "the end of a worker without a run is no end of a run"


def test_a_worker_that_did_many_runs_makes_way_for_another(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_MOST_RUNS", 3)
    numbers = [run.start().pid for _ in range(5)]
    assert numbers == [numbers[0]] * 3 + [numbers[4]] * 2
    assert numbers[0] != numbers[4]


def test_a_worker_that_is_killed_while_it_waits_is_forgotten(run: Run) -> None:
    first = run.start()
    os.kill(first.pid, signal.SIGKILL)
    wait_until(lambda: run.workers.warm_pid is None, "its end")
    second = run.start()
    assert second.pid != first.pid
    assert run.ends == [OVER] * 2


def test_a_worker_that_ends_when_it_takes_a_job_says_nothing_of_it(run: Run) -> None:
    first = run.start()
    deadly = replace(run.job.freeze, snapshots_dir="mute")  # type: ignore[type-var]
    assert run.start(replace(run.job, freeze=deadly)) is first
    assert first.is_warm
    assert len(run.events) == 1
    assert run.ends[1].startswith("the worker ended with exit code 7")


def test_a_worker_waits_for_its_time_and_no_longer_than_until_a_run(tmp_path: Path) -> None:
    run = make_run(tmp_path, 0.01)
    first = run.start()
    wait_until(lambda: not first.is_alive, "the worker's end")
    assert run.workers.warm_pid is None
    assert run.ends == [OVER]
    run = make_run(tmp_path, 3600.0)
    worker = run.start()
    long = replace(run.job, models_dir="long")
    assert run.workers.start(long, run.events.append, lambda _: None) is worker
    run.workers._let_go(worker)  # a timer that was due at this moment
    assert worker.is_alive
    worker.stop()


def test_stop_ends_a_worker_that_waits(run: Run) -> None:
    first = run.start()
    run.workers.stop()
    assert not first.is_alive
    assert run.workers.warm_pid is None
    assert run.ends == [OVER]
