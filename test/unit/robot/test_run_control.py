"""The states of a run, driven by a worker that does what the test says."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from waiting import wait_until

from fl_robot_ros.capture.new_sample import NewSample
from fl_robot_ros.config import ClientSettings
from fl_robot_ros.data_source import DataSource, SourceKind
from fl_robot_ros.dataset.dataset import Dataset
from fl_robot_ros.errors import RunFailedError, RunRefusedError
from fl_robot_ros.robot.run_control import RunControl
from fl_robot_ros.worker_link.event import (
    Delivered,
    Dismissed,
    Dropped,
    Event,
    Failed,
    Frozen,
    Prepared,
    Progress,
    Reading,
)
from fl_robot_ros.worker_link.job import Job
from fl_robot_ros.worker_link.run_status import FINISHED, RunState, RunStatus

DEADLINE_SEC = 60.0
KILLED = "the worker was killed by SIGKILL"
TRAINING = Progress(RunState.TRAINING, run=4, round=7, rounds=9, epoch=1, epochs=5, loss=0.5)


@dataclass
class FakeWorkers:
    """Checks no Python, starts workers of no process, and is each of them."""

    pid: int = 4711
    is_warm: bool = False
    warm_pid: int | None = None
    known: str = ""
    found: str = ""
    error: OSError | None = None
    may_check: threading.Event = field(default_factory=threading.Event)
    started: threading.Event = field(default_factory=threading.Event)
    jobs: list[Job] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    cancels: int = 0
    stops: int = 0
    ends_when_cancelled: bool = True
    on_event: Callable[[Event], None] = lambda _: None
    on_exit: Callable[[str], None] = lambda _: None

    def __post_init__(self) -> None:
        self.may_check.set()

    def known_problem(self) -> str:
        return self.known

    def check(self) -> str:
        assert self.may_check.wait(DEADLINE_SEC)
        return self.found

    def start(
        self, job: Job, on_event: Callable[[Event], None], on_exit: Callable[[str], None]
    ) -> FakeWorkers:
        if self.error is not None:
            raise self.error
        self.is_warm = self.is_warm and not self.jobs
        self.jobs.append(job)
        self.on_event, self.on_exit = on_event, on_exit
        self.started.set()
        return self

    def forget(self) -> None:
        """Have no worker, as before the first start."""
        self.jobs.clear()
        self.started.clear()

    def pause(self, reason: str) -> None:
        self.told.append(f"pause {reason}")

    def resume(self) -> None:
        self.told.append("resume")

    def cancel(self) -> None:
        self.cancels += 1
        if self.ends_when_cancelled:
            self.on_exit("the worker ended with exit code 3")

    def stop(self) -> None:
        self.may_check.set()
        self.stops += 1
        if self.jobs:
            self.on_exit("the worker was killed by SIGKILL")


@dataclass
class Robot:
    """A run control with its double, and a clock that the test sets."""

    control: RunControl
    workers: FakeWorkers
    dataset: Dataset
    changes: list[RunStatus]
    now_sec: float = 100.0

    @property
    def ended(self) -> tuple[RunState, str]:
        return self.control.status.state, self.control.status.detail

    def start(self) -> None:
        """Start a run, up to the first training."""
        started = self.control.start()
        assert self.workers.started.wait(DEADLINE_SEC)
        self.workers.on_event(Frozen(3, 1, 1))
        self.workers.on_event(Progress(RunState.CONNECTING))
        started.result(DEADLINE_SEC)
        self.workers.on_event(Progress(RunState.WAITING))
        self.workers.on_event(TRAINING)


@pytest.fixture
def robot(dataset: Dataset, tmp_path: Path) -> Robot:
    samples = [
        NewSample(label, "camera", number, b"x%d" % number, 1, 1)
        for number, label in enumerate(["cat", "cat", "dog", "dog", "dog", ""])
    ]
    dataset.add(samples)
    return make_robot(dataset, tmp_path, ClientSettings(min_samples=5, split_gap_sec=2.5))


def make_robot(
    dataset: Dataset, tmp_path: Path, settings: ClientSettings, source: DataSource | None = None
) -> Robot:
    changes: list[RunStatus] = []
    workers = FakeWorkers()
    control = RunControl(
        dataset,
        settings,
        source or DataSource.from_settings(settings),
        workers,
        workers,
        tmp_path,
        "r1",
        "cloud:8000",
        on_change=lambda: changes.append(control.status),
        clock=lambda: robot.now_sec,
    )
    robot = Robot(control, workers, dataset, changes)
    return robot


def test_a_run_goes_from_its_start_to_the_delivery(robot: Robot, tmp_path: Path) -> None:
    started = robot.control.start()
    assert robot.ended == (RunState.CONNECTING, "starting the worker")
    assert robot.workers.started.wait(DEADLINE_SEC)
    [job] = robot.workers.jobs
    assert job.freeze is not None
    assert (job.freeze.max_id, job.freeze.gap_sec) == (6, 2.5)
    assert job.freeze.snapshots_dir == str(tmp_path / "snapshots")
    assert (job.robot, job.models_dir) == ("r1", str(tmp_path / "models"))
    robot.workers.on_event(Frozen(3, 1, 1))
    assert not started.done()
    robot.workers.on_event(Progress(RunState.CONNECTING))
    assert started.result(DEADLINE_SEC) == (
        "run started with 5 images of 2 labels: 3 to train on, 1 held out, 1 left out (nearer "
        "than split_gap_sec, 2.5 s, to one held out); 1 more wait for a label; server cloud:8000"
    )
    robot.workers.on_event(Prepared(3, 1, {"dog": 2}, 1))
    robot.workers.on_event(TRAINING)
    status = robot.control.status
    assert str(status) == "training, round 7 of 9"
    assert (status.loss, status.accuracy, status.samples) == (0.5, None, 5)
    assert status.data == (
        "3 images to train on, 1 held out; labels that are no class of this run: 'dog' (2); "
        "1 unreadable images"
    )
    robot.workers.on_event(Progress(RunState.EVALUATING, 4, 8, 9, accuracy=0.75))
    status = robot.control.status
    assert (status.epoch, status.loss, status.accuracy) == (0, 0.5, 0.75)
    robot.workers.on_event(Delivered("v00003", 1.0))
    assert robot.ended == (RunState.DELIVERING, "model v00003 is stored, accuracy 1.000")
    assert robot.control.status.is_active
    robot.workers.on_exit("the worker ended with exit code 0")
    assert robot.ended == (RunState.IDLE, FINISHED)
    assert robot.control.status.accuracy == 1.0
    assert robot.control.worker_pid is None
    assert robot.changes[-1] == robot.control.status


def test_another_source_needs_no_samples(dataset: Dataset, tmp_path: Path) -> None:
    source = DataSource(SourceKind.FOLDER, str(tmp_path), 0, 1, 0.0, 0.2)
    robot = make_robot(dataset, tmp_path, ClientSettings(), source)
    started = robot.control.start()
    assert robot.workers.started.wait(DEADLINE_SEC)
    assert robot.workers.jobs[0].freeze is None
    robot.workers.on_event(Progress(RunState.CONNECTING))
    line = f"run started with folder:{tmp_path}; server cloud:8000"
    assert started.result(DEADLINE_SEC) == line
    robot.workers.on_event(Reading("folder:/images"))
    assert robot.ended == (RunState.CONNECTING, "reading folder:/images")


def test_a_run_is_refused_with_too_few_samples(dataset: Dataset, tmp_path: Path) -> None:
    robot = make_robot(dataset, tmp_path, ClientSettings(min_samples=2))
    with pytest.raises(RunRefusedError, match="0 labelled images; min_samples asks for at least"):
        robot.control.start()
    assert robot.control.status == RunStatus()


def test_a_run_is_refused_while_another_is_on(robot: Robot) -> None:
    robot.start()
    with pytest.raises(RunRefusedError, match="a run is on already: training, round 7 of 9"):
        robot.control.start()
    robot.workers.on_event(Failed("the model is invalid"))
    with pytest.raises(RunRefusedError, match="a run is on already"):
        robot.control.start()  # its worker has not ended yet
    robot.workers.on_exit("the worker ended with exit code 1")
    robot.workers.forget()
    robot.start()
    assert robot.control.status.state == RunState.TRAINING


def test_a_python_that_is_known_to_be_unusable_is_refused_at_once(robot: Robot) -> None:
    robot.workers.known = "worker_python /bin/true lacks flwr"
    with pytest.raises(RunRefusedError, match="lacks flwr"):
        robot.control.start()
    assert robot.control.status == RunStatus()


@pytest.mark.parametrize("error", [None, OSError("out of memory")])
def test_a_worker_that_cannot_start_fails_the_run(robot: Robot, error: OSError | None) -> None:
    robot.workers.error = error
    robot.workers.found = "" if error else "out of memory"
    started = robot.control.start()
    with pytest.raises((RunRefusedError, OSError), match="out of memory"):
        started.result(DEADLINE_SEC)
    assert robot.ended == (RunState.FAILED, "the run did not start: out of memory")
    assert robot.changes[-1] == robot.control.status


def test_a_dataset_that_cannot_be_frozen_refuses_and_fails_the_run(robot: Robot) -> None:
    started = robot.control.start()
    assert robot.workers.started.wait(DEADLINE_SEC)
    robot.workers.on_event(Failed("snapshot s.json cannot be written: No space left"))
    robot.workers.on_exit("the worker ended with exit code 1")
    with pytest.raises(RunFailedError, match="No space left"):
        started.result(DEADLINE_SEC)
    assert robot.ended == (RunState.FAILED, "snapshot s.json cannot be written: No space left")


def test_cancel_while_the_worker_is_being_started(robot: Robot) -> None:
    robot.workers.may_check.clear()
    started = robot.control.start()
    assert robot.control.cancel() == "leaving the run"
    assert robot.ended == (RunState.CONNECTING, "leaving the run")
    robot.workers.may_check.set()
    with pytest.raises(RunRefusedError, match="the run was left"):
        started.result(DEADLINE_SEC)
    assert robot.ended == (RunState.IDLE, "the run was left")
    assert robot.workers.jobs == []


def test_cancel_before_the_worker_says_anything(robot: Robot) -> None:
    started = robot.control.start()
    assert robot.workers.started.wait(DEADLINE_SEC)
    assert robot.control.worker_pid == 4711
    robot.control.cancel()
    with pytest.raises(RunFailedError, match="the run was left"):
        started.result(DEADLINE_SEC)
    assert robot.ended == (RunState.IDLE, "the run was left")


def test_cancel_in_training(robot: Robot) -> None:
    robot.start()
    robot.workers.ends_when_cancelled = False
    assert robot.control.cancel() == "leaving the run"
    assert robot.workers.cancels == 1
    assert robot.ended == (RunState.TRAINING, "leaving the run")
    robot.workers.on_event(TRAINING)  # the last step ends first
    assert robot.control.status.detail == "leaving the run"
    robot.workers.on_exit(KILLED)
    assert robot.control.status == RunStatus(RunState.IDLE, "the run was left")
    robot.workers.forget()
    robot.start()
    assert robot.control.status.state == RunState.TRAINING


def test_a_model_delivered_before_the_cancel_reached_the_worker_counts(robot: Robot) -> None:
    robot.start()
    robot.workers.ends_when_cancelled = False
    robot.control.cancel()
    robot.workers.on_event(Delivered("v00003", 1.0))
    robot.workers.on_exit("the worker ended with exit code 0")
    assert robot.ended == (RunState.IDLE, FINISHED)


def test_a_run_whose_model_was_refused_is_finished_and_says_why(robot: Robot) -> None:
    robot.start()
    note = "v00003 is refused: accuracy 0.240 on its 120 images, 0.385 before"
    robot.workers.on_event(Delivered("v00003", 0.24, is_current=False, note=note))
    assert robot.ended == (RunState.DELIVERING, note)
    robot.workers.on_exit("the worker ended with exit code 0")
    assert robot.ended == (RunState.IDLE, f"{FINISHED}; {note}")


def test_a_run_without_a_model_for_this_robot_is_finished_and_says_why(robot: Robot) -> None:
    robot.start()
    robot.workers.on_event(Dismissed("no model is released", 60.0))
    robot.workers.on_exit("the worker ended with exit code 0")
    assert robot.ended == (RunState.IDLE, f"{FINISHED}; no model is released")
    assert robot.control.status.is_finished
    assert robot.control.come_back_sec == 60.0


def test_cancel_is_refused_without_a_run(robot: Robot) -> None:
    with pytest.raises(RunRefusedError, match="there is no run to leave: idle"):
        robot.control.cancel()
    robot.start()
    robot.workers.on_exit(KILLED)
    with pytest.raises(RunRefusedError, match="there is no run to leave: failed, the worker was"):
        robot.control.cancel()


def test_a_killed_worker_fails_the_run(robot: Robot) -> None:
    robot.start()
    robot.workers.on_exit(KILLED)
    assert robot.ended == (RunState.FAILED, KILLED)
    assert robot.control.status.round == 7


def test_a_failure_has_the_reason_of_the_worker(robot: Robot) -> None:
    robot.start()
    robot.workers.on_event(Failed("lost the server at cloud:8000"))
    robot.workers.on_exit("the worker ended with exit code 1")
    assert robot.ended == (RunState.FAILED, "lost the server at cloud:8000")


def test_a_reply_that_the_server_does_not_take_is_counted(robot: Robot) -> None:
    robot.start()
    robot.workers.on_event(Dropped("its run has ended"))
    detail = "the server did not take a reply: its run has ended"
    assert robot.ended == (RunState.TRAINING, detail)
    robot.workers.on_event(TRAINING)
    robot.workers.on_event(Dropped("its run has ended"))
    assert robot.control.status.dropped == 2
    assert robot.control.status.values()["dropped"] == "2"


def test_the_reason_is_shown_while_the_worker_tells_the_server(robot: Robot) -> None:
    robot.start()
    robot.workers.on_event(Failed("the model is invalid"))
    assert robot.ended == (RunState.TRAINING, "the model is invalid")
    robot.workers.on_exit("the worker ended with exit code 1")
    assert robot.ended == (RunState.FAILED, "the model is invalid")


def test_a_silent_worker_shows_how_long_and_can_be_cancelled(robot: Robot) -> None:
    assert robot.control.silent_sec is None
    robot.start()
    robot.now_sec += 3600.0
    assert robot.control.silent_sec == 3600.0
    assert robot.control.status.state == RunState.TRAINING
    robot.workers.on_event(TRAINING)
    assert robot.control.silent_sec == 0.0
    robot.control.cancel()
    assert robot.control.silent_sec is None


def test_the_samples_of_a_run_stay_until_they_are_read(robot: Robot) -> None:
    pins: list[int] = []
    robot.dataset.pin = pins.append  # type: ignore[method-assign]
    robot.start()
    assert pins == [6]
    robot.workers.on_event(Prepared(3, 1))
    assert pins == [6, 0]
    robot.workers.on_exit(KILLED)
    assert pins[-1] == 0


@pytest.mark.parametrize("phase", ["idle", "checking", "training", "failed"])
def test_stop_in_every_phase(robot: Robot, phase: str) -> None:
    if phase == "checking":
        robot.workers.may_check.clear()
        robot.control.start()
    elif phase != "idle":
        robot.start()
    if phase == "failed":
        robot.workers.on_exit(KILLED)
        robot.workers.forget()
    robot.control.stop()
    assert robot.workers.stops
    assert not robot.control.status.is_active
    if phase in ("checking", "training"):
        assert robot.ended == (RunState.IDLE, "the run was left")


def test_a_run_pauses_and_goes_on_where_it_was(robot: Robot) -> None:
    robot.control.pause("there is no run")
    robot.control.resume()
    robot.start()
    assert robot.workers.told == []
    robot.control.pause("moving")
    assert robot.ended == (RunState.TRAINING, "")  # a batch may still be on
    robot.workers.on_event(replace(TRAINING, state=RunState.PAUSED))
    assert str(robot.control.status) == "paused, round 7 of 9, moving"
    robot.control.pause("no battery")
    assert str(robot.control.status) == "paused, round 7 of 9, no battery"
    robot.control.resume()
    robot.workers.on_event(TRAINING)
    assert str(robot.control.status) == "training, round 7 of 9"
    robot.control.resume()
    assert robot.workers.told == ["pause moving", "pause no battery", "resume"]
    robot.workers.on_exit(KILLED)
    assert robot.control.shape == "-v[~!"


def test_a_run_that_is_being_left_does_not_pause_or_go_on(robot: Robot) -> None:
    robot.start()
    assert not robot.control.is_leaving
    robot.control.pause("moving")
    robot.workers.on_event(replace(TRAINING, state=RunState.PAUSED))
    robot.workers.on_event(Failed("left: moving; the pause was longer than 120 s"))
    assert robot.control.is_leaving
    robot.control.resume()
    robot.control.pause("no battery")
    assert robot.workers.told == ["pause moving"]
    assert robot.ended == (RunState.PAUSED, "left: moving; the pause was longer than 120 s")
    robot.workers.on_exit("the worker ended with exit code 1")
    assert not robot.control.is_leaving


def test_a_pause_before_the_worker_is_there_reaches_it(robot: Robot) -> None:
    robot.workers.may_check.clear()
    robot.control.start()
    robot.control.pause("moving")
    robot.workers.may_check.set()
    assert robot.workers.started.wait(DEADLINE_SEC)
    wait_until(lambda: robot.workers.told == ["pause moving"], "the pause")


def test_the_server_says_when_to_come_back(robot: Robot) -> None:
    assert robot.control.come_back_sec == 0.0
    started = robot.control.start()
    assert robot.workers.started.wait(DEADLINE_SEC)
    robot.workers.on_event(Failed("no run before 02:00", come_back_sec=60.0))
    robot.workers.on_exit("the worker ended with exit code 1")
    assert robot.control.come_back_sec == 60.0
    with pytest.raises(RunFailedError, match="no run before 02:00"):
        started.result(DEADLINE_SEC)
    # It is no fault of the robot's.
    assert robot.ended == (RunState.IDLE, "no run before 02:00")
    assert not robot.control.status.is_finished


def test_a_robot_that_was_needed_for_too_long_has_not_failed(robot: Robot) -> None:
    robot.start()
    robot.workers.on_event(Failed("left: moving", is_fault=False))
    robot.workers.on_exit("the worker ended with exit code 1")
    assert robot.ended == (RunState.IDLE, "left: moving")
    assert not robot.control.was_cancelled


def test_the_job_says_how_long_a_pause_may_take_and_which_samples_are_new(robot: Robot) -> None:
    robot.start()
    assert robot.workers.jobs[0].pause_max_sec == ClientSettings().pause_max_sec
    assert robot.control.newest_id == 6


def test_a_run_ends_while_its_worker_stays_for_the_next(dataset: Dataset, tmp_path: Path) -> None:
    settings = ClientSettings(worker_keep_warm_sec=60.0)
    source = DataSource(SourceKind.FOLDER, str(tmp_path), 0, 1, 0.0, 0.2)
    robot = make_robot(dataset, tmp_path, settings, source)
    started = robot.control.start()
    assert robot.workers.started.wait(DEADLINE_SEC)
    assert robot.workers.jobs[0].keep_warm
    robot.workers.on_event(Progress(RunState.CONNECTING))
    assert started.result(DEADLINE_SEC)
    robot.workers.on_event(Delivered("v00003", 1.0))
    robot.workers.warm_pid = robot.workers.pid
    robot.workers.on_exit("the run has ended")
    assert robot.ended == (RunState.IDLE, FINISHED)
    # Its memory is the next run's; it is not silent, since nobody expects a word of it.
    assert (robot.control.worker_pid, robot.control.silent_sec) == (4711, None)
    robot.workers.warm_pid = None
    assert robot.control.worker_pid is None


def start_with_a_warm_worker(robot: Robot) -> Future[str]:
    robot.workers.is_warm = True
    started = robot.control.start()
    assert robot.workers.started.wait(DEADLINE_SEC)
    assert robot.control.worker_pid == 4711  # the start is over
    return started


def test_a_warm_worker_that_is_gone_when_a_run_begins_costs_no_run(robot: Robot) -> None:
    started = start_with_a_warm_worker(robot)
    robot.control.pause("moving")
    robot.workers.told.clear()
    robot.workers.on_exit(KILLED)
    assert robot.ended == (RunState.CONNECTING, "starting the worker")
    first, second = robot.workers.jobs
    assert first == second
    assert robot.workers.told == ["pause moving"]
    robot.workers.on_event(Progress(RunState.CONNECTING))
    assert started.result(DEADLINE_SEC)
    # The new one has no such excuse.
    robot.workers.on_exit(KILLED)
    assert robot.ended == (RunState.FAILED, KILLED)


def test_a_warm_worker_that_is_gone_is_not_replaced_for_a_run_that_was_left(robot: Robot) -> None:
    started = start_with_a_warm_worker(robot)
    robot.control.cancel()
    with pytest.raises(RunFailedError, match="the run was left"):
        started.result(DEADLINE_SEC)
    assert robot.ended == (RunState.IDLE, "the run was left")
    assert len(robot.workers.jobs) == 1


def test_a_warm_worker_that_is_killed_in_its_run_fails_the_run(robot: Robot) -> None:
    robot.workers.is_warm = True
    robot.start()
    robot.workers.on_exit(KILLED)
    assert robot.ended == (RunState.FAILED, KILLED)
    assert len(robot.workers.jobs) == 1
