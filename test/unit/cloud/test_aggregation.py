"""Flower's strategies by name, on one flat array, with what lasts kept in the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.exception import InconsistentMessageReplies
from flwr.serverapp.strategy import FedAvg
from numpy.typing import NDArray

from fl_robot_ros.cloud.aggregation import Aggregation
from fl_robot_ros.cloud.checkpoint import GlobalModel, load_checkpoint, save_checkpoint
from fl_robot_ros.cloud.update_check import Reply
from fl_robot_ros.config import STRATEGIES, ServerSettings, updates_needed
from fl_robot_ros.errors import ModelError
from fl_robot_ros.federation import protocol
from fl_robot_ros.images.preprocessing import Preprocessing
from fl_robot_ros.learning.architecture import architecture_of, trainable_weights
from fl_robot_ros.learning.trainer import Trainer
from fl_robot_ros.learning.training_data import LabelledImages
from fl_robot_ros.learning.weights import pack_weights, set_packed_weights

START = np.array([100.0, -100.0, 0.5, 0.0], np.float32)


def model(weights: NDArray[np.float32] = START, **state: Any) -> GlobalModel:
    return GlobalModel(1, weights, "{}", ("a", "b"), Preprocessing(8, 8, 3, 1.0), **state)


def replies(*steps: Any, images: int = 10, start: NDArray[np.float32] = START) -> list[Reply]:
    """Return the replies of robots that moved all weights by these steps."""
    made = []
    for node_id, step in enumerate(steps):
        request = Message(RecordDict(), dst_node_id=node_id, message_type="train")
        metrics: protocol.Metrics = {"num-examples": images, "loss": 0.1, "accuracy": 0.5}
        message = protocol.reply(request, metrics, start + np.float32(step))
        made.append(Reply(node_id, f"r{node_id}", message, num_examples=images))
    return made


def aggregation(strategy: str, is_trainable: Any = None, **settings: Any) -> Aggregation:
    values = {"min_nodes": 7, "learning_rate": 1.0, "norm_limit": 0.0, **settings}
    return Aggregation(
        ServerSettings(classes=("a", "b"), strategy=strategy, **values), is_trainable
    )


HONEST = (0.9, 1.0, 1.0, 1.0, 1.0, 1.1)


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("FedAvg", 106.0 / 7),
        ("FedAvgM", 106.0 / 7),
        ("FedMedian", 1.0),
        ("FedTrimmedAvg", 5.1 / 5),
        ("Krum", 1.0),
        ("MultiKrum", 1.0),
        ("Bulyan", 1.0),
    ],
)
def test_each_strategy_does_what_its_name_says(strategy: str, expected: float) -> None:
    """Six honest updates and one that is a hundred times as long."""
    after = aggregation(strategy).aggregate(model(), replies(*HONEST, 100.0))
    np.testing.assert_allclose(after.weights - START, np.full(4, expected), atol=1e-4)


def test_small_updates_of_large_weights_are_told_apart() -> None:
    """Distances between weights of 10^4 would drown in float32: |x|^2 + |y|^2 - 2xy."""
    start = np.full(4, 1e4, np.float32)
    sent = replies(0.125, 0.125, 0.125, -0.25, start=start)
    after = aggregation("Krum").aggregate(model(start), sent)
    np.testing.assert_array_equal(after.weights, start + np.float32(0.125))


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_few_updates_make_a_model_or_an_error_of_ours(strategy: str, number: int) -> None:
    robots = aggregation(strategy, max_malicious=1)
    if strategy == "Bulyan" and number < 3:
        with pytest.raises(ModelError, match="Bulyan failed: it makes nothing of"):
            robots.aggregate(model(), replies(*number * [1.0]))
    else:
        after = robots.aggregate(model(), replies(*number * [1.0]))
        np.testing.assert_allclose(after.weights, START + 1.0, rtol=1e-6)


def test_momentum_repeats_a_share_of_the_last_step() -> None:
    robots = aggregation("FedAvgM", server_momentum=0.5)
    first = robots.aggregate(model(), replies(1.0, 1.0))
    second = robots.aggregate(first, replies(1.0, 1.0, start=first.weights))
    np.testing.assert_allclose(second.weights, START + 1.0 + 1.5, rtol=1e-6)


def test_momentum_outlives_a_restart(tmp_path: Path) -> None:
    first = aggregation("FedAvgM").aggregate(model(), replies(1.0, 1.0))
    restored = load_checkpoint(save_checkpoint(tmp_path, first))
    for again in (first, restored):
        after = aggregation("FedAvgM").aggregate(again, replies(1.0, start=again.weights))
        np.testing.assert_allclose(after.weights, START + 1.0 + 1.5, rtol=1e-6)
    assert restored.usual_length == first.usual_length


def test_another_strategy_forgets_the_momentum() -> None:
    first = aggregation("FedAvgM").aggregate(model(), replies(1.0, 1.0))
    second = aggregation("FedAvg").aggregate(first, replies(1.0, start=first.weights))
    np.testing.assert_allclose(second.weights, START + 2.0, rtol=1e-6)
    assert second.momentum is None


def test_a_variance_has_no_momentum_and_stays_above_0() -> None:
    """The third weight is the moving variance of a batch normalization, falling to 0.1."""
    is_trainable = np.array([True, True, False, True])
    robots = aggregation("FedAvgM", is_trainable, server_momentum=0.9)
    now = model()
    for target in (0.3, 0.1, 0.1, 0.1):
        step = np.array([1.0, 1.0, target - now.weights[2], 1.0], np.float32)
        now = robots.aggregate(now, replies(step, step, start=now.weights))
        assert now.weights[2] == pytest.approx(target, abs=1e-6)
    assert now.weights[0] > 108.0  # without momentum it would be at 104


def test_whatever_a_strategy_raises_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise InconsistentMessageReplies("as Flower says it")

    monkeypatch.setattr(FedAvg, "aggregate_train", fails)
    with pytest.raises(ModelError, match="FedAvgM failed: as Flower says it"):
        aggregation("FedAvgM").aggregate(model(), replies(1.0))


def test_records_that_nobody_asked_for_are_left_out() -> None:
    sent = replies(1.0, 3.0)
    assert sent[1].message is not None
    sent[1].message.content["more"] = MetricRecord({"temperature": 21.5})
    sent[1].message.content["arrays-2"] = ArrayRecord([np.zeros(3, np.float32)])
    after = aggregation("FedAvg").aggregate(model(), sent)
    np.testing.assert_allclose(after.weights, START + 2.0, rtol=1e-6)


def test_weights_that_overflow_are_an_error() -> None:
    start = np.full(4, 3e38, np.float32)
    with pytest.raises(ModelError, match="not finite"):
        aggregation("FedAvgM", server_momentum=0.9).aggregate(
            model(start, momentum=np.full(4, -3e38, np.float32)), replies(0.0, start=start)
        )


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_strategies_get_as_many_updates_as_they_need(strategy: str) -> None:
    """With that many, one malicious update is kept away by every robust strategy."""
    needed = updates_needed(strategy, 1)
    steps = [*(needed - 1) * [1.0], 1000.0]
    after = aggregation(strategy, max_malicious=1).aggregate(model(), replies(*steps))
    is_robust = strategy not in ("FedAvg", "FedAvgM")
    assert (float(np.abs(after.weights - START - 1.0).max()) < 1e-3) == is_robust


def test_statistics_of_batch_normalization_stay_sound_with_momentum() -> None:
    """Four rounds of a real trainer; a variance with momentum would fall below 0."""
    shape = Preprocessing(8, 8, 1, 1.0)  # grey values up to 255: a variance of thousands at first
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.BatchNormalization(momentum=0.5),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )
    architecture = architecture_of(model)
    trainer = Trainer(architecture, shape, ("a", "b"))
    settings = ServerSettings(classes=("a", "b"), server_momentum=0.9)
    aggregation = Aggregation(settings, trainable_weights(architecture))
    weights = pack_weights(model.get_weights())
    now = GlobalModel(0, weights, architecture, ("a", "b"), shape)
    generator = np.random.default_rng(0)
    for number in range(4):
        width = 200 if number == 0 else 3  # afterwards almost the same grey
        images = generator.integers(0, width, (64, 8, 8, 1)).astype(np.uint8)
        data = LabelledImages(images, generator.integers(0, 2, 64).astype(np.int32))
        replies = []
        for node_id in (1, 2):
            result = trainer.train(
                now.weights, data, epochs=3, batch_size=32, learning_rate=0.003, seed=number
            )
            request = Message(RecordDict(), dst_node_id=node_id, message_type="train")
            message = protocol.reply(request, {"num-examples": 64}, result.weights)
            replies.append(Reply(node_id, f"r{node_id}", message, num_examples=64))
        compared = aggregation.compare(now, replies)
        assert [reply.reason for reply in compared] == ["", ""]
        now = aggregation.aggregate(now, compared)
        set_packed_weights(trainer.model, now.weights)
        variance = trainer.model.layers[0].moving_variance.numpy()
        assert (variance >= 0.0).all()
