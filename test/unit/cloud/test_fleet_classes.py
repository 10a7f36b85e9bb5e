"""Which classes nobody has is known from what the robots say, and from nothing else."""

from __future__ import annotations

from typing import Any

from flwr.app import Message, RecordDict

from fl_robot_ros.cloud.fleet_classes import FleetClasses
from fl_robot_ros.cloud.update_check import Reply
from fl_robot_ros.federation import protocol


def reply(counts: Any) -> Reply:
    request = Message(RecordDict(), dst_node_id=1, message_type="train")
    metrics: protocol.Metrics = {"num-examples": 3}
    if counts is not None:
        metrics[protocol.CLASS_COUNTS] = counts
    return Reply(1, "r1", protocol.reply(request, metrics))


def test_classes_that_no_robot_has_are_absent() -> None:
    classes = FleetClasses(4)
    assert classes.absent == ()
    classes.add([reply([3, 0, 0, 0]), reply([1, 2, 0, 0])])
    assert classes.absent == (2, 3)
    classes.add([reply([0, 0, 0, 9])])
    assert classes.absent == (2,)


def test_a_robot_that_does_not_say_may_have_all() -> None:
    for counts in (None, [1, 2, 3], 7):
        classes = FleetClasses(4)
        classes.add([reply([1, 0, 0, 0]), reply(counts)])
        assert classes.absent == ()
