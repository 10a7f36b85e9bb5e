"""One bad robot is left out and named; the others go on."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Error,
    Message,
    MetricRecord,
    RecordDict,
)
from flwr.common.constant import ErrorCode
from flwr.serverapp.strategy import FedAvg
from numpy.typing import NDArray

from fl_robot_ros.cloud.update_check import Reply, check_reply
from fl_robot_ros.federation import protocol

SIZE = 5
GOOD = {"num-examples": 10, "loss": 0.5, "accuracy": 0.75, "seconds": 1.0}


def request() -> Message:
    return Message(RecordDict(), dst_node_id=1, message_type="train")


def reply(weights: NDArray[Any] | None = None, robot: str = "r1", **changes: Any) -> Message:
    packed = np.ones(SIZE, np.float32) if weights is None else weights
    metrics = {**GOOD, **{name.replace("_", "-"): value for name, value in changes.items()}}
    content = RecordDict(
        {
            "arrays": ArrayRecord({"weights": Array(packed)}),
            "metrics": MetricRecord({k: v for k, v in metrics.items() if v is not None}),
            "config": ConfigRecord({"robot": robot}),
        }
    )
    return Message(content, reply_to=request())


def check(message: Message | None) -> Reply:
    return check_reply(7, message, SIZE, max_examples=1000)


def test_a_sound_reply_counts() -> None:
    checked = check(reply())
    assert checked.accepted
    assert (checked.robot, checked.num_examples, checked.accuracy) == ("r1", 10, 0.75)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (reply(np.full(SIZE, np.nan, np.float32)), "5 of 5 weights are not finite"),
        (reply(np.array([1, 1, 1, 1, np.inf], np.float32)), "1 of 5"),
        (reply(np.ones(SIZE + 1, np.float32)), "6 weights; the model has 5"),
        (reply(np.ones((1, SIZE), np.float32)), "expected float32"),
        (reply(np.ones(SIZE, np.float64)), "float64"),
        (reply(num_examples=10**9), "expected 1 to 1000"),
        (reply(num_examples=-9), "expected 1 to 1000"),
        (reply(num_examples=0), "expected 1 to 1000"),
        (reply(num_examples=None), "'num-examples' is None"),
        (reply(num_examples=math.nan), "expected a finite number"),
        (reply(loss=math.inf), "'loss' is inf"),
        (reply(accuracy=1.5), "expected 0 to 1"),
        (reply(seconds=-1.0), "'seconds' is -1"),
        (reply(loss=[1.0, 2.0]), "expected a finite number"),
        (Message(RecordDict(), reply_to=request()), "'metrics' is missing"),
        (Message(Error(0, "out of memory"), reply_to=request()), "out of memory"),
        (None, "no reply in time"),
    ],
)
def test_an_unsound_reply_does_not_count(message: Message | None, reason: str) -> None:
    checked = check(message)
    assert not checked.accepted
    assert reason in checked.reason


def test_missing_and_extra_arrays_are_refused() -> None:
    extra = reply()
    extra.content["arrays"] = ArrayRecord(
        {"weights": Array(np.ones(SIZE, np.float32)), "more": Array(np.ones(1, np.float32))}
    )
    none = reply()
    del none.content["arrays"]
    for message in (extra, none):
        assert "expected one array" in check(message).reason


def test_an_array_that_cannot_be_read_is_refused() -> None:
    message = reply()
    array = message.content.array_records["arrays"]["weights"]
    array.data = b"\x93NUMPY garbage"
    assert "cannot be read" in check(message).reason


def test_the_reason_of_a_robot_is_one_line_without_control_codes() -> None:
    failed = Message(Error(code=0, reason="no\x1b[2J\nmemory"), reply_to=request())
    assert check(failed).reason == "no [2J memory"


def test_a_robot_that_is_gone_is_told_in_our_words() -> None:
    gone = Message(Error(ErrorCode.NODE_UNAVAILABLE, "Error: Node"), reply_to=request())
    assert check(gone).reason.startswith("it is gone")


def test_names_from_the_network_are_one_clean_line() -> None:
    checked = check(reply(robot="evil\x1b[2J\nrobot" + "x" * 200))
    assert "\x1b" not in checked.robot
    assert "\n" not in checked.robot
    assert len(checked.robot) <= 64
    assert check(reply(robot="")).robot == "node 7"


def test_what_kept_a_robot_from_learning_is_one_clean_line_of_bounded_length() -> None:
    message = reply()
    texts = message.content.config_records["config"]
    for sent, read in (
        ("battery 0.31, needs >= 0.4 (Wed 22:03 to 23:10)",) * 2,
        ("no\x1b[2J\r\nbattery\u202e\x00", "no [2J battery"),
        ("x" * 10**6, "x" * 297 + "..."),
        (7, ""),
        (b"battery", ""),
        (["battery"], ""),
    ):
        texts["hindrance"] = sent  # type: ignore[assignment]
        checked = check(message)
        assert checked.accepted
        assert checked.hindrance == read
    assert check(reply()).hindrance == ""


def test_aggregation_is_the_weighted_mean_of_the_accepted() -> None:
    replies = {
        1: reply(np.full(SIZE, 1.0, np.float32), num_examples=30),
        2: reply(np.full(SIZE, 5.0, np.float32), num_examples=10),
        3: reply(np.full(SIZE, np.nan, np.float32), num_examples=1),
        4: reply(np.full(SIZE, -9e9, np.float32), num_examples=10**9),
    }
    checked = [check_reply(node, replies.get(node), SIZE, 1000) for node in range(1, 6)]
    assert [item.accepted for item in checked] == [True, True, False, False, False]
    accepted = [item.message for item in checked if item.accepted and item.message]
    arrays, _ = FedAvg().aggregate_train(1, accepted)
    assert arrays is not None
    np.testing.assert_allclose(arrays[protocol.WEIGHTS].numpy(), np.full(SIZE, 2.0))
