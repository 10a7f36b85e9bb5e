"""What goes over the network is data, and checked."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from flwr.app import ConfigRecord, Message, RecordDict

from fl_robot_ros.config import ServerSettings
from fl_robot_ros.errors import ProtocolError
from fl_robot_ros.federation.protocol import (
    RunConfig,
    pack_request,
    reply,
    unpack_request,
    unpack_weights,
)
from fl_robot_ros.images.preprocessing import Preprocessing

CONFIG = RunConfig(
    run=1,
    last_round=7,
    architecture="{}",
    classes=("a", "b"),
    preprocessing=Preprocessing(32, 24, 3, 1 / 255),
    local_epochs=2,
    batch_size=32,
    learning_rate=0.001,
    loss="calibrated",
    absent_classes=(1,),
    seed=0,
)


def request(content: RecordDict, group: str = "4") -> Message:
    return Message(content, dst_node_id=1, message_type="train", group_id=group)


def test_a_request_round_trips() -> None:
    weights = np.arange(6, dtype=np.float32)
    unpacked = unpack_request(request(pack_request(CONFIG, weights)))
    assert unpacked.config == CONFIG
    nobody_lacks = dataclasses.replace(CONFIG, absent_classes=(), run_before=(1.5e9, 1.6e9))
    assert unpack_request(request(pack_request(nobody_lacks, weights))).config == nobody_lacks
    assert unpacked.server_round == 4
    np.testing.assert_array_equal(unpacked.weights, weights)


@pytest.mark.parametrize("group", ["", "0", "-1", "four", "1.5"])
def test_a_group_that_is_no_round_is_refused(group: str) -> None:
    with pytest.raises(ProtocolError, match="group"):
        unpack_request(request(pack_request(CONFIG, np.ones(1, np.float32)), group))


def test_a_reply_carries_arrays_metrics_and_the_name_only() -> None:
    message = reply(
        request(RecordDict()), {"num-examples": 3}, np.ones(2, np.float32), {"robot": "r1"}
    )
    assert set(message.content) == {"arrays", "metrics", "config"}
    assert dict(message.content.config_records["config"]) == {"robot": "r1"}
    assert unpack_weights(message).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(RunConfig)])
def test_a_missing_value_is_named(field: str) -> None:
    record = CONFIG.to_record()
    key = field.replace("_", "-")
    del record[key]
    with pytest.raises(ProtocolError, match=key):
        RunConfig.from_record(record)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("run", 0),
        ("run", 2**40),
        ("local-epochs", 10**9),
        ("batch-size", 2**40),
        ("seed", 2**62),
        ("learning-rate", 1e30),
        ("learning-rate", 1),
        ("last-round", "four"),
        ("local-epochs", -1),
        ("batch-size", 1.5),
        ("seed", -1),
        ("learning-rate", 0.0),
        ("learning-rate", float("nan")),
        ("loss", "hinge"),
        ("loss", 1),
        ("absent-classes", [2]),
        ("absent-classes", [-1]),
        ("absent-classes", ["a"]),
        ("absent-classes", 1),
        ("run-before", [1.0]),
        ("run-before", [1, 2]),
        ("run-before", ["x" * 10**6] * 2),
        ("run-before", 1.0),
        ("run-before", "\x1b[2J"),
        ("architecture", b"{}"),
        ("classes", ["a"]),
        ("classes", ["a", "a"]),
        ("classes", [1, 2]),
        ("classes", "ab"),
        ("classes", [f"class {number}" for number in range(100_000)]),
        ("classes", ["a", "b" * 10_000_000]),
        ("classes", ["a", ""]),
        ("classes", ["a", " b"]),
        ("classes", ["a", "b\x1b[2J"]),
        ("classes", ["a", "b\n"]),
        ("classes", ["a", "e\u0301"]),
        ("classes", ["a", "b\ufffd"]),
        ("preprocessing", "{"),
        ("preprocessing", '{"height": 32}'),
        ("preprocessing", '{"height": -1, "width": 1, "channels": 3, "scale": 1.0}'),
        ("preprocessing", 7),
        ("preprocessing", "[" * 100_000),
        ("preprocessing", '{"height": 99999, "width": 1, "channels": 3, "scale": 1.0}'),
        ("preprocessing", '{"height": 8, "width": 1e30, "channels": 3, "scale": 1.0}'),
        ("preprocessing", '{"height": 8, "width": 8, "channels": 3, "scale": NaN}'),
    ],
)
def test_a_wrong_value_is_refused(key: str, value: Any) -> None:
    record = ConfigRecord({**CONFIG.to_record(), key: value})
    with pytest.raises(ProtocolError) as raised:
        RunConfig.from_record(record)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 400


def test_what_a_server_can_be_set_to_is_taken() -> None:
    for field in dataclasses.fields(ServerSettings):
        if field.name in {"local_epochs", "batch_size", "learning_rate", "seed"}:
            for bound in ("minimum", "maximum"):
                key, value = field.name.replace("_", "-"), field.metadata[bound]
                RunConfig.from_record(ConfigRecord({**CONFIG.to_record(), key: value}))


def test_a_message_without_records_is_refused() -> None:
    with pytest.raises(ProtocolError, match="config"):
        unpack_request(request(RecordDict()))
