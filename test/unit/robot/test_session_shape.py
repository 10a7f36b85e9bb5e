"""The letters of a run."""

from __future__ import annotations

import pytest

from fl_robot_ros.robot.session_shape import SessionShape
from fl_robot_ros.worker_link.event import Delivered, Dismissed, Dropped, Event, Frozen, Progress
from fl_robot_ros.worker_link.run_status import RunState

START = [Frozen(3, 1, 0), Progress(RunState.CONNECTING), Progress(RunState.WAITING)]
TRAIN, WAIT, PAUSE = map(Progress, (RunState.TRAINING, RunState.WAITING, RunState.PAUSED))
ROUND = [TRAIN, TRAIN, WAIT, Progress(RunState.EVALUATING), WAIT]
END = [Progress(RunState.DELIVERING), Delivered("v00003", 1.0)]


@pytest.mark.parametrize(
    ("events", "shape"),
    [
        ([*START, *ROUND, *END], "-v[]+^"),
        ([*START, *ROUND, *ROUND, *ROUND, *END], "-v[]+^"),
        ([*START, TRAIN, PAUSE, TRAIN, PAUSE, TRAIN, *ROUND, *END], "-v[~]+^"),
        ([*START, *ROUND, TRAIN, PAUSE, PAUSE, TRAIN, WAIT, *ROUND, *END], "-v[]+^v[~]+^"),
        ([*START, PAUSE, WAIT, *ROUND, *END], "-~v[]+^"),
        ([*START, TRAIN, WAIT, Dropped("too late"), *ROUND, *END], "-v[]+#v[]+^"),
        ([*START, *ROUND, Dismissed("no model is released")], "-v[]+^"),
        ([*START, TRAIN, PAUSE], "-v[~!"),
        ([*START, *ROUND], "-v[]+^!"),
        (START[:2], "!"),
        ([*START, *ROUND[:3], PAUSE, WAIT, Dropped("x"), *END], "-v[]+^~"),
    ],
)
def test_a_run_leaves_its_shape(events: list[Event], shape: str) -> None:
    followed = SessionShape()
    for event in events:
        followed.take(event)
    followed.end()
    assert str(followed) == shape
