"""The pause of a worker's work: what the node is told, and how it ends."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable

import pytest
from waiting import wait_until

from fl_robot_ros.errors import PauseTooLongError
from fl_robot_ros.worker.pause import Pause
from fl_robot_ros.worker_link.event import EventWriter, Progress, read_event
from fl_robot_ros.worker_link.run_status import RunState

TRAINING = Progress(RunState.TRAINING, 1, 2, 3, 4, 5, loss=0.5, accuracy=0.25)
TRAINING_PAUSED = Progress(RunState.PAUSED, 1, 2, 3, 4, 5)
WAITING = Progress(RunState.WAITING, 1, 2, 3)
WAITING_PAUSED = Progress(RunState.PAUSED, 1, 2, 3)


class Work:
    """Work with one step, in a thread."""

    def __init__(self, wait: Callable[[], None]) -> None:
        self.done = threading.Event()
        self._wait = wait
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        self._wait()
        self.done.set()


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def events(stream: io.StringIO) -> EventWriter:
    return EventWriter(stream)


def told(stream: io.StringIO) -> list[object]:
    return [read_event(line) for line in stream.getvalue().splitlines()]


def test_work_stops_at_its_next_step_and_goes_on(events: EventWriter, stream: io.StringIO) -> None:
    pause = Pause(events, 3600.0)
    events.write(TRAINING)
    pause.wait()
    pause.begin("battery 0.31, needs >= 0.4")
    assert told(stream) == [TRAINING], "the work goes on until its next step"
    first, second = Work(pause.wait), Work(pause.wait)
    wait_until(lambda: len(told(stream)) == 2, "the event")
    assert not first.done.is_set()
    pause.end()
    assert first.done.wait(60.0)
    assert second.done.wait(60.0)
    assert told(stream) == [TRAINING, TRAINING_PAUSED, TRAINING]
    pause.wait()


def test_a_robot_that_waits_for_the_server_is_paused_at_once(
    events: EventWriter, stream: io.StringIO
) -> None:
    pause = Pause(events, 3600.0)
    events.write(WAITING)
    pause.begin("goal active")
    pause.begin("goal active")
    pause.check()
    assert told(stream) == [WAITING, WAITING_PAUSED]
    work = Work(pause.wait)  # a message came
    pause.end()
    assert work.done.wait(60.0)
    assert told(stream) == [WAITING, WAITING_PAUSED, WAITING]


def test_work_that_began_just_then_is_paused_again(
    events: EventWriter, stream: io.StringIO
) -> None:
    pause = Pause(events, 3600.0)
    events.write(WAITING)
    pause.begin("goal active")
    events.write(TRAINING)
    Work(pause.wait)
    wait_until(lambda: len(told(stream)) == 4, "the event")
    pause.end()
    assert told(stream) == [WAITING, WAITING_PAUSED, TRAINING, TRAINING_PAUSED, TRAINING]


def test_a_pause_that_ends_before_the_next_step_tells_nothing_old(
    events: EventWriter, stream: io.StringIO
) -> None:
    pause = Pause(events, 3600.0)
    events.write(WAITING)
    pause.begin("goal active")
    events.write(TRAINING)
    pause.end()
    assert told(stream) == [WAITING, WAITING_PAUSED, TRAINING]


def test_a_pause_that_is_too_long_ends_the_work_with_the_newest_reason(
    events: EventWriter,
) -> None:
    pause = Pause(events, 0.0)
    events.write(TRAINING)
    pause.begin("battery 0.31, needs >= 0.4")
    pause.begin("goal active")
    for check in (pause.wait, pause.check):
        with pytest.raises(PauseTooLongError, match=r"^left: goal active; .* longer than 0 s"):
            check()
    pause.end()
    pause.wait()
    pause.check()
