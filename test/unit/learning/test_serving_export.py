"""What TensorFlow Serving and Triton get predicts as the stored model does."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from fl_robot_ros.delivery.manifest import KERAS_FILE, Candidate, Manifest
from fl_robot_ros.delivery.model_store import ModelStore
from fl_robot_ros.errors import ModelError
from fl_robot_ros.learning.serving_export import export_for_serving

INPUT = {"height": 8, "width": 6, "channels": 3, "scale": 1 / 255}


def store_model(models: Path, classes: list[str]) -> tuple[Path, Manifest, keras.Model]:
    layers = [keras.layers.Flatten(), keras.layers.Dense(len(classes), activation="softmax")]
    model = keras.Sequential([keras.layers.Input((8, 6, 3)), *layers])

    def build(folder: Path) -> Candidate:
        model.save(folder / KERAS_FILE)
        return Candidate(classes=classes, preprocessing=INPUT)

    folder = ModelStore(models).add(build).folder
    return folder, Manifest.load(folder), model


def test_a_version_is_served_as_it_was_stored(tmp_path: Path) -> None:
    folder, manifest, model = store_model(tmp_path / "models", ["cup", "Tässchen"])
    images = np.random.default_rng(0).random((5, 8, 6, 3), dtype=np.float32)
    serving, triton = tmp_path / "serving" / "signs", tmp_path / "triton" / "signs"
    assert export_for_serving(folder, manifest, "tf-serving", serving) == serving / "1"
    assert export_for_serving(folder, manifest, "triton", triton) == triton / "1"
    for place in (serving / "1", triton / "1" / "model.savedmodel"):
        served = tf.saved_model.load(str(place)).signatures["serving_default"]
        outputs = served(image=tf.constant(images))
        assert [*outputs] == ["output_0"]
        np.testing.assert_allclose(outputs["output_0"], model(images), atol=1e-6)
        assert Manifest.load(place / "assets.extra") == manifest
    assert (triton / "labels.txt").read_text() == "cup\nTässchen\n"
    config = (triton / "config.pbtxt").read_text()
    assert 'name: "image" data_type: TYPE_FP32 dims: [8, 6, 3]' in config
    assert 'name: "output_0" data_type: TYPE_FP32 dims: [2]' in config
    # The servers see versions, and what all of them share.
    assert [path.name for path in serving.iterdir()] == ["1"]
    assert {path.name for path in triton.iterdir()} == {"1", "config.pbtxt", "labels.txt"}

    with pytest.raises(ModelError, match=r"there is .*/1 already"):
        export_for_serving(folder, manifest, "tf-serving", serving)
    folder, manifest, _ = store_model(tmp_path / "models", ["cup", "glass", "phone"])
    with pytest.raises(ModelError, match=r"config\.pbtxt is that of a model with another input"):
        export_for_serving(folder, manifest, "triton", triton)
    assert export_for_serving(folder, manifest, "tf-serving", serving).name == "2"


def test_a_failed_export_leaves_no_version(tmp_path: Path) -> None:
    folder, manifest, _ = store_model(tmp_path / "models", ["cup", "glass"])
    (folder / KERAS_FILE).write_bytes(b"no model")
    with pytest.raises(ModelError, match="cannot be exported"):
        export_for_serving(folder, manifest, "tf-serving", tmp_path / "signs")
    assert [*(tmp_path / "signs").iterdir()] == []
