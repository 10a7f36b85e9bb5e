"""Architectures travel as JSON; only Keras' own classes may be named in it."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest

from fl_robot_ros.errors import ModelError
from fl_robot_ros.learning.architecture import (
    architecture_of,
    model_from_architecture,
    trainable_weights,
)
from fl_robot_ros.learning.initial_model import build_reference_cnn


def test_an_architecture_is_rebuilt_with_the_same_shapes() -> None:
    model = build_reference_cnn(20, 24, 1, 3)
    rebuilt = model_from_architecture(architecture_of(model))
    assert rebuilt.input_shape == (None, 20, 24, 1)
    assert [w.shape for w in rebuilt.weights] == [w.shape for w in model.weights]


def test_a_functional_model_with_branches_is_rebuilt() -> None:
    inputs = keras.Input((8, 8, 3))
    left = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    right = keras.layers.Conv2D(4, 1)(inputs)
    merged = keras.layers.GlobalAveragePooling2D()(keras.layers.Add()([left, right]))
    normal = keras.layers.BatchNormalization()(merged)
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(normal))
    rebuilt = model_from_architecture(architecture_of(model))
    assert rebuilt.count_params() == model.count_params()


def test_what_training_does_not_move_is_known_from_the_architecture() -> None:
    """Also in the order of the packed weights."""
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(4, 3, trainable=False),  # 36 + 4
            keras.layers.BatchNormalization(),  # scale and shift move, 4 + 4 statistics do not
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2, activation="softmax"),  # 8 + 2
        ]
    )
    moved = trainable_weights(architecture_of(model))
    assert moved.tolist() == 40 * [False] + 8 * [True] + 8 * [False] + 10 * [True]
    names = [weight.name for weight in model.weights for _ in range(int(np.prod(weight.shape)))]
    assert [names[n].startswith("moving") for n in range(48, 56)] == 8 * [True]


def _with_lambda() -> str:
    content = json.loads(architecture_of(build_reference_cnn(16, 16, 3, 2)))
    layers = content["config"]["layers"]
    layers.insert(1, {"module": "keras.layers", "class_name": "Lambda", "config": {}})
    return json.dumps(content)


def _with_module(module: str) -> str:
    content = json.loads(architecture_of(build_reference_cnn(16, 16, 3, 2)))
    content["config"]["layers"][1]["module"] = module
    return json.dumps(content)


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ("", "not JSON"),
        ("[1, 2", "not JSON"),
        ("{}", "does not describe"),
        ('"model"', "Keras cannot build|does not describe"),
        (_with_lambda(), "Lambda"),
        (_with_module("os"), "module 'os'"),
        (_with_module("kerasevil.layers"), "module 'kerasevil"),
        ('{"class_name": "X", "registered_name": "evil>X", "module": null}', "custom class"),
        (" " * 4_000_001, "at most 4 MB"),
        ("[" * 100_000, "not JSON|Keras"),
    ],
)
def test_hostile_architectures_are_refused(architecture: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        model_from_architecture(architecture)
