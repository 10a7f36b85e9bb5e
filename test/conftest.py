"""Fixtures that unit and integration tests share."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import settings
from needed_packages import NEEDED, lacking

from fl_robot_ros.delivery.manifest import KERAS_FILE, TFLITE_FILE, Manifest
from fl_robot_ros.delivery.model_file import hash_file

# A slow, noisy machine says nothing about the code.
settings.register_profile("steady", deadline=None)
settings.load_profile("steady")

collect_ignore = [path for path, modules in NEEDED.items() if lacking(modules)]

# What tests of several rooms use: bags, images, bare Pythons.
sys.path.insert(0, str(Path(__file__).parent / "parts"))

# Mean of each colour channel, then softmax: the output says which of red, green and blue prevails.
# The same with whole numbers inside and outside, and one that says red whatever it sees.
_COLOUR_MODELS = """
import pathlib, sys
import numpy as np, keras, tensorflow as tf
folder = pathlib.Path(sys.argv[1])
model = keras.Sequential([
    keras.layers.Input((8, 8, 3)),
    keras.layers.GlobalAveragePooling2D(),
    keras.layers.Dense(3, activation="softmax"),
])
model.layers[-1].set_weights([20 * np.eye(3, dtype="float32"), np.zeros(3, "float32")])

def write(name, kind=None):
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if kind is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        images = np.random.default_rng(0).random((50, 1, 8, 8, 3), dtype="float32")
        converter.representative_dataset = lambda: ([image] for image in images)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = kind
    (folder / name).write_bytes(converter.convert())

write("colour")
write("int8", tf.int8)
write("uint8", tf.uint8)
model.layers[-1].set_weights([np.zeros((3, 3), "float32"), np.array([9, 0, 0], "float32")])
write("red")
"""

_ROOT = Path(__file__).parents[1]

WriteVersion = Callable[..., Path]


@pytest.fixture(scope="session")
def tflite_models() -> dict[str, bytes]:
    """LiteRT models of 8x8 images by name.

    "colour" tells red, green and blue ones apart, as do "int8" and "uint8", whose inputs and
    outputs are of these types; "red" says red to all. They are made once for all runs of tests.
    """
    # A robot's own Python has no TensorFlow; another may make the model for it.
    python = os.environ.get("TENSORFLOW_PYTHON", "")
    missing = lacking(("ai_edge_litert",) if python else ("ai_edge_litert", "keras", "tensorflow"))
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    made_of = _COLOUR_MODELS + (_ROOT / "requirements" / "learning.txt").read_text()
    folder = _ROOT / "build" / f"test-models-{sha256(made_of.encode()).hexdigest()}"
    if not folder.is_dir():
        folder.parent.mkdir(exist_ok=True)
        staging = Path(mkdtemp(dir=folder.parent))
        # In a process of its own, so that the session does not carry TensorFlow along.
        command = [python or sys.executable, "-c", _COLOUR_MODELS, str(staging)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        try:
            staging.rename(folder)
        except OSError:  # Another process was sooner.
            shutil.rmtree(staging)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def write_version(tflite_models: dict[str, bytes], tmp_path: Path) -> WriteVersion:
    """Return a function that writes a sound version folder of one of these models.

    Its other keyword arguments replace fields of the manifest.
    """

    def write(version: str = "v00001", model: str = "colour", **changes: object) -> Path:
        folder = tmp_path / "models" / version
        folder.mkdir(parents=True)
        (folder / TFLITE_FILE).write_bytes(tflite_models[model])
        (folder / KERAS_FILE).write_bytes(b"never read by a predictor")
        fields: dict[str, object] = {
            "version": version,
            "created": "2026-01-02T03:04:05+00:00",
            "files": {name: hash_file(folder / name) for name in (KERAS_FILE, TFLITE_FILE)},
            "classes": ["red", "green", "blue"],
            "preprocessing": {"height": 8, "width": 8, "channels": 3, "scale": 1 / 255},
            "metrics": {"accuracy": 0.5},
        }
        Manifest(**{**fields, **changes}).write(folder)  # type: ignore[arg-type]
        return folder

    return write
