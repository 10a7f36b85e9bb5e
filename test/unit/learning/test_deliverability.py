"""Models that can be delivered to robots, and models that cannot."""

from __future__ import annotations

from collections.abc import Callable

import keras
import pytest

from fl_robot_ros.errors import ModelError
from fl_robot_ros.learning.deliverability import check_deliverable

layers = keras.layers
SCALE = 1 / 255


def ends_in(*last: keras.layers.Layer) -> keras.Model:
    return keras.Sequential([keras.Input((10, 10, 3)), *last])


def softmax(**options: object) -> keras.layers.Layer:
    return layers.Dense(3, activation="softmax", **options)


def attention() -> keras.Model:
    images = keras.Input((10, 10, 3))
    rows = layers.Reshape((10, 30))(images)
    seen = layers.MultiHeadAttention(2, 4)(rows, rows)
    return keras.Model(images, softmax()(layers.GlobalAveragePooling1D()(seen)))


def inverse_error_function() -> keras.Model:
    images = keras.Input((10, 10, 3))
    return keras.Model(images, softmax()(layers.Flatten()(keras.ops.erfinv(images * 0.5))))


@pytest.mark.parametrize(
    "build",
    [
        lambda: ends_in(layers.RandomFlip(), layers.Conv2D(4, 3), layers.Flatten(), softmax()),
        lambda: ends_in(layers.Reshape((10, 30)), layers.LSTM(4), softmax()),
        lambda: ends_in(layers.Reshape((10, 30)), layers.GRU(4), softmax()),
        lambda: ends_in(layers.Flatten(), layers.Dense(3), layers.Softmax()),
        attention,
    ],
    ids=["conv", "lstm", "gru", "softmax layer", "attention"],
)
def test_what_ends_in_softmax_and_has_operations_of_litert_can_be_delivered(
    build: Callable[[], keras.Model],
) -> None:
    check_deliverable(build(), SCALE)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (
            lambda: ends_in(layers.Flatten(), layers.Dense(3)),
            "expected probabilities, which sum to 1: end it in softmax, not in logits or sigmoid",
        ),
        (
            lambda: ends_in(layers.Flatten(), layers.Dense(3, activation="sigmoid")),
            "end it in softmax, not in logits or sigmoid",
        ),
        (
            lambda: ends_in(ends_in(layers.Flatten(), softmax(name="out", dtype="mixed_float16"))),
            "its layer 'out' computes in float16; build the model with the dtype policy float32",
        ),
        (inverse_error_function, "the model cannot be converted to LiteRT: LiteRT has no Erfinv"),
    ],
    ids=["logits", "sigmoid", "mixed precision", "unknown operation"],
)
def test_what_no_robot_could_run_is_refused_with_the_reason(
    build: Callable[[], keras.Model], words: str
) -> None:
    with pytest.raises(ModelError) as caught:
        check_deliverable(build(), SCALE)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
