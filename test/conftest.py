"""Fixtures that unit and integration tests share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

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
_COLOUR_MODEL = """
import sys
import numpy as np, keras, tensorflow as tf
model = keras.Sequential([
    keras.layers.Input((8, 8, 3)),
    keras.layers.GlobalAveragePooling2D(),
    keras.layers.Dense(3, activation="softmax"),
])
model.layers[-1].set_weights([20 * np.eye(3, dtype="float32"), np.zeros(3, "float32")])
open(sys.argv[1], "wb").write(tf.lite.TFLiteConverter.from_keras_model(model).convert())
"""

WriteVersion = Callable[..., Path]


@pytest.fixture(scope="session")
def colour_tflite(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A LiteRT model that tells red, green and blue 8x8 images apart."""
    # A robot's own Python has no TensorFlow; another may make the model for it.
    python = os.environ.get("TENSORFLOW_PYTHON", "")
    missing = lacking(("ai_edge_litert",) if python else ("ai_edge_litert", "keras", "tensorflow"))
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    path = tmp_path_factory.mktemp("colour_model") / "colour.tflite"
    # In a process of its own, so that the session does not carry TensorFlow along.
    command = [python or sys.executable, "-c", _COLOUR_MODEL, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return path.read_bytes()


@pytest.fixture
def write_version(colour_tflite: bytes, tmp_path: Path) -> WriteVersion:
    """Return a function that writes a sound version folder of the colour model.

    Its keyword arguments replace fields of the manifest.
    """

    def write(version: str = "v00001", **changes: object) -> Path:
        folder = tmp_path / "models" / version
        folder.mkdir(parents=True)
        (folder / TFLITE_FILE).write_bytes(colour_tflite)
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
