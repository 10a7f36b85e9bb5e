"""A model version as TensorFlow Serving loads it: a SavedModel in a numbered folder.

TensorFlow Serving looks for folders whose name is a number in a model's base path, and serves the
highest (its FileSystemStoragePathSource).
"""

from __future__ import annotations

from pathlib import Path

import keras
import tensorflow as tf

from fl_robot_ros.delivery.export_layout import publish, version_number
from fl_robot_ros.delivery.manifest import KERAS_FILE, Manifest
from fl_robot_ros.errors import ModelError

# A SavedModel's folder for files that TensorFlow passes over.
_EXTRA = "assets.extra"


def publish_for_tf_serving(folder: Path, manifest: Manifest, target: Path) -> Path:
    """Write a version as a SavedModel; return its numbered folder.

    Its signature `serving_default` maps `image`, float32 (N, height, width, channels) in the
    model's range, to `scores`, float32 (N, classes).

    Args:
        folder: The version's folder, verified.
        manifest: Its manifest.
        target: The model's base path.

    Raises:
        ModelError: The model cannot be loaded or exported, there is this version already, or a
            file cannot be written.
    """

    def write(staging: Path) -> None:
        try:
            model = keras.saving.load_model(folder / KERAS_FILE, compile=False)
            archive = keras.export.ExportArchive()
            archive.track(model)
            archive.add_endpoint(
                "serving_default",
                lambda image: {"scores": model(image, training=False)},
                [tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name="image")],
            )
            archive.write_out(str(staging), verbose=False)
        except Exception as error:  # Keras and TensorFlow have exceptions of their own.
            raise ModelError(f"{folder / KERAS_FILE} cannot be exported: {error}") from error
        (staging / _EXTRA).mkdir()
        manifest.write(staging / _EXTRA)

    return publish(target, version_number(manifest), write)
