"""Architectures travel as JSON; only Keras' own classes may be named in it."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest

from fl_robot_ros.errors import ModelError
from fl_robot_ros.learning.architecture import (
    architecture_of,
    build_reference_cnn,
    load_initial_model,
    model_from_architecture,
)


def test_reference_cnn_is_the_one_of_the_seed_system() -> None:
    model = build_reference_cnn(32, 32, 3, 10)
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds == [
        "Conv2D",
        "MaxPooling2D",
        "Conv2D",
        "MaxPooling2D",
        "Flatten",
        "Dropout",
        "Dense",
    ]
    assert model.count_params() == 42442
    assert model.output_shape == (None, 10)


def test_the_seed_decides_the_initial_weights() -> None:
    first, same, other = (build_reference_cnn(16, 16, 1, 2, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.get_weights()[0], same.get_weights()[0])
    assert not np.array_equal(first.get_weights()[0], other.get_weights()[0])


@pytest.mark.parametrize(("height", "classes"), [(9, 2), (32, 1)])
def test_reference_cnn_refuses_what_it_cannot_be(height: int, classes: int) -> None:
    with pytest.raises(ModelError, match="expected at least"):
        build_reference_cnn(height, 32, 3, classes)


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
        ("", "no JSON"),
        ("[1, 2", "no JSON"),
        ("{}", "does not describe"),
        ('"model"', "Keras cannot build|does not describe"),
        (_with_lambda(), "Lambda"),
        (_with_module("os"), "module 'os'"),
        (_with_module("kerasevil.layers"), "module 'kerasevil"),
        ('{"class_name": "X", "registered_name": "evil>X", "module": null}', "custom class"),
        (" " * 4_000_001, "at most 4 MB"),
        ("[" * 100_000, "no JSON|Keras"),
    ],
)
def test_hostile_architectures_are_refused(architecture: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        model_from_architecture(architecture)


def test_an_own_model_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "own.keras"
    build_reference_cnn(12, 12, 3, 4).save(path)
    assert load_initial_model(str(path)).output_shape == (None, 4)


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.keras"
    path.write_bytes(b"PK\x03\x04 not a model")
    for wrong in (path, tmp_path / "absent.keras"):
        with pytest.raises(ModelError, match="cannot be loaded"):
            load_initial_model(str(wrong))
