"""Architectures travel as JSON; only Keras' own classes may be named in it."""

from __future__ import annotations

import json
from typing import Any

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
from fl_robot_ros.learning.memory_budget import MemoryBudget


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


def _with_layers(kind: str, config: dict[str, Any], times: int = 1) -> str:
    content = json.loads(architecture_of(build_reference_cnn(16, 16, 3, 2)))
    layer = {"module": "keras.layers", "class_name": kind, "registered_name": None}
    layers = [{**layer, "config": {**config, "name": f"added_{n}"}} for n in range(times)]
    content["config"]["layers"] = content["config"]["layers"][:-1] + layers
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
        (_with_layers("Dense", {"units": 300_000_000}), "at most 250000000"),
        (_with_layers("Dense", {"units": 3 * 10**18}), "Keras cannot build|at most 250000000"),
        (_with_layers("ReLU", {}, times=5_000), r"50\d\d layers; at most 500"),
    ],
)
def test_hostile_architectures_are_refused(architecture: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        model_from_architecture(architecture)


def huge_input() -> keras.Model:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((4096, 4096, 3)),
            layers.Conv2D(8, 3, padding="same"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, activation="softmax"),
        ]
    )


def nested() -> keras.Model:
    block = keras.Sequential([keras.Input((64, 64, 3)), keras.layers.UpSampling2D(64)])
    inputs = keras.Input((64, 64, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(block(inputs))
    return keras.Model(inputs, keras.layers.Dense(2)(pooled))


@pytest.mark.parametrize(
    ("model", "batch_size"),
    [
        (huge_input, 32),
        (nested, 32),
        (lambda: build_reference_cnn(32, 32, 3, 2), 65_536),
        (lambda: build_reference_cnn(96, 96, 3, 2), 8192),
    ],
)
def test_a_model_that_needs_too_much_memory_is_refused(model: Any, batch_size: int) -> None:
    budget = MemoryBudget(4096, batch_size, 1)
    with pytest.raises(ModelError, match=r"would need about [\d,]+ MB .* leaves 4,096 MB"):
        model_from_architecture(architecture_of(model()), budget.check)
    # What was refused leaves nothing behind.
    small = build_reference_cnn(16, 16, 3, 2)
    MemoryBudget(100, 32, 256).check(small)
    rebuilt = model_from_architecture(architecture_of(small), MemoryBudget(100, 32, 256).check)
    rebuilt.set_weights(small.get_weights())
    images = np.random.default_rng(0).random((2, 16, 16, 3), dtype=np.float32)
    np.testing.assert_array_equal(rebuilt.predict(images), small.predict(images))


def test_a_common_model_fits() -> None:
    model = keras.applications.MobileNetV2(weights=None, classes=10, input_shape=(96, 96, 3))
    budget = MemoryBudget(4096, 32, 256)
    assert 100 < budget.needed_mb(model) < 2000
    architecture = architecture_of(model)
    assert model_from_architecture(architecture, budget.check).count_params() > 2_000_000
