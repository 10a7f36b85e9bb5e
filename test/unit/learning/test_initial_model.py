"""The first global model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fl_robot_ros.errors import ModelError
from fl_robot_ros.images.preprocessing import Preprocessing
from fl_robot_ros.learning.initial_model import build_reference_cnn, initial_model
from fl_robot_ros.learning.weights import pack_weights

INPUT = Preprocessing(12, 12, 3, 1 / 255)
CLASSES = ("a", "b", "c", "d")


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


def test_an_own_model_is_loaded_with_its_weights(tmp_path: Path) -> None:
    path = tmp_path / "own.keras"
    own = build_reference_cnn(12, 12, 3, 4, seed=7)
    own.save(path)
    _, weights = initial_model(str(path), INPUT, CLASSES, 0)
    np.testing.assert_array_equal(weights, pack_weights(own.get_weights()))
    _, fresh = initial_model("", INPUT, CLASSES, 0)
    assert fresh.shape == weights.shape
    assert not np.array_equal(fresh, weights)


def test_an_own_model_of_other_classes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.keras"
    build_reference_cnn(12, 12, 3, 2).save(path)
    with pytest.raises(ModelError, match=r"expected .* for this input and 4 classes"):
        initial_model(str(path), INPUT, CLASSES, 0)


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.keras"
    path.write_bytes(b"PK\x03\x04 not a model")
    for wrong in (path, tmp_path / "absent.keras"):
        with pytest.raises(ModelError, match="cannot be loaded"):
            initial_model(str(wrong), INPUT, CLASSES, 0)
