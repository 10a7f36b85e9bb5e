"""A model version as TensorFlow Serving and Triton load it: a SavedModel in a numbered folder.

TensorFlow Serving looks for folders whose name is a number below a model's base path, and serves
the highest ("FileSystemStoragePathSource"). Triton wants `config.pbtxt` and numbered folders with
`model.savedmodel` below the model's folder (its docs/user_guide/model_repository.md); images of
Triton up to 25.02 have the TensorFlow backend, newer ones do not.
"""

from __future__ import annotations

import json
from pathlib import Path

import keras
import tensorflow as tf

from fl_robot_ros.atomic_file import staging_file
from fl_robot_ros.delivery.export_layout import publish
from fl_robot_ros.delivery.manifest import KERAS_FILE, Manifest
from fl_robot_ros.errors import ModelError

_INPUT = "image"
_OUTPUT = "output_0"  # The name that Keras gives to a model's only output.
_LABELS_FILE = "labels.txt"
_CONFIG_FILE = "config.pbtxt"
# A SavedModel's folder for files that TensorFlow passes over.
_EXTRA = "assets.extra"
_MAX_BATCH = 32


def export_for_serving(folder: Path, manifest: Manifest, layout: str, target: Path) -> Path:
    """Write a version as a SavedModel; return its numbered folder.

    Args:
        folder: The version's folder, verified.
        manifest: Its manifest.
        layout: "tf-serving" or "triton".
        target: The model's folder in the server's repository.

    Raises:
        ModelError: The model cannot be loaded or exported, Triton's folder has a model of another
            input or other classes, or there is this version already.
    """
    number = str(int(manifest.version.lstrip("v")))
    if layout == "tf-serving":
        return publish(target, number, lambda place: _save(folder, manifest, place))
    files = {_CONFIG_FILE: _triton_config(manifest), _LABELS_FILE: _labels(manifest)}
    for name, text in files.items():
        _write_once(target / name, text)
    return publish(
        target, number, lambda place: _save(folder, manifest, place / "model.savedmodel")
    )


def _save(folder: Path, manifest: Manifest, place: Path) -> None:
    """Write the SavedModel, with manifest and class names beside it."""
    try:
        model = keras.saving.load_model(folder / KERAS_FILE, compile=False)
        archive = keras.export.ExportArchive()
        archive.track(model)
        height, width, channels = model.input_shape[1:]
        archive.add_endpoint(
            "serving_default",
            lambda image: model(image, training=False),
            [tf.TensorSpec((None, height, width, channels), tf.float32, name=_INPUT)],
        )
        archive.write_out(str(place), verbose=False)
    except Exception as error:  # Keras and TensorFlow have exceptions of their own.
        raise ModelError(f"{folder / KERAS_FILE} cannot be exported: {error}") from error
    extra = place / _EXTRA
    extra.mkdir()
    manifest.write(extra)
    (extra / _LABELS_FILE).write_text(_labels(manifest), encoding="utf-8")


def _labels(manifest: Manifest) -> str:
    return "".join(f"{name}\n" for name in manifest.classes)


def _triton_config(manifest: Manifest) -> str:
    """Return Triton's configuration; without a name, the model's is that of its folder."""
    shape = manifest.preprocessing
    dims = [shape["height"], shape["width"], shape["channels"]]
    return f"""\
backend: "tensorflow"
platform: "tensorflow_savedmodel"
max_batch_size: {_MAX_BATCH}
input {{ name: "{_INPUT}" data_type: TYPE_FP32 dims: {json.dumps(dims)} }}
output {{
  name: "{_OUTPUT}" data_type: TYPE_FP32 dims: [{len(manifest.classes)}]
  label_filename: "{_LABELS_FILE}"
}}
"""


def _write_once(file: Path, text: str) -> None:
    """Write a file that all versions share, or see that it is the same already."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            with staging_file(file) as staging:
                staging.write_text(text, encoding="utf-8")
        elif file.read_text(encoding="utf-8") != text:
            raise ModelError(
                f"{file} is that of a model with another input or other classes; name another "
                "folder, or remove it"
            )
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"cannot write {file}: {error}") from error
