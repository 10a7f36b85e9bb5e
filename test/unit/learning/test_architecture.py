"""Architectures travel as JSON; only Keras' own classes may be named in it."""

from __future__ import annotations

import json

import keras
import pytest

from fl_robot_ros.errors import ModelError
from fl_robot_ros.learning.architecture import architecture_of, model_from_architecture
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
