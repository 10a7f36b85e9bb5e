"""What TensorFlow Serving gets predicts as the stored model does."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from fl_robot_ros.delivery.manifest import KERAS_FILE, Candidate, Manifest
from fl_robot_ros.delivery.model_store import ModelStore
from fl_robot_ros.errors import ModelError
from fl_robot_ros.learning.serving_export import publish_for_tf_serving

INPUT = {"height": 8, "width": 6, "channels": 3, "scale": 1 / 255}


def test_a_version_is_served_as_it_was_stored(tmp_path: Path) -> None:
    layers = [keras.layers.Flatten(), keras.layers.Dense(2, activation="softmax")]
    model = keras.Sequential([keras.layers.Input((8, 6, 3)), *layers])

    def build(folder: Path) -> Candidate:
        model.save(folder / KERAS_FILE)
        return Candidate(classes=["cup", "Tässchen"], preprocessing=INPUT)

    folder = ModelStore(tmp_path / "models").add(build).folder
    manifest = Manifest.load(folder)
    target = tmp_path / "serving" / "signs"
    place = publish_for_tf_serving(folder, manifest, target)
    # Nothing that the server could take for a version, but the version.
    assert [*target.iterdir()] == [place] == [target / "1"]
    images = np.random.default_rng(0).random((5, 8, 6, 3), dtype=np.float32)
    served = tf.saved_model.load(str(place)).signatures["serving_default"]
    outputs = served(image=tf.constant(images))
    assert [*outputs] == ["scores"]
    np.testing.assert_allclose(outputs["scores"], model(images), atol=1e-6)
    assert Manifest.load(place / "assets.extra") == manifest

    (folder / KERAS_FILE).write_bytes(b"no model")
    with pytest.raises(ModelError, match="cannot be exported"):
        publish_for_tf_serving(folder, manifest, tmp_path / "broken")
    assert [*(tmp_path / "broken").iterdir()] == []
