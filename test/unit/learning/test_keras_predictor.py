"""A server's checkpoint is evaluated as a version is."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest

from fl_robot_ros.cli.predict import main
from fl_robot_ros.cloud.checkpoint import CheckpointWriter, GlobalModel
from fl_robot_ros.images.preprocessing import Preprocessing
from fl_robot_ros.learning.architecture import architecture_of
from fl_robot_ros.learning.weights import pack_weights


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A checkpoint of a model that tells red, green and blue apart."""
    model = keras.Sequential(
        [
            keras.layers.Input((8, 8, 3)),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    model.layers[-1].set_weights([20 * np.eye(3, dtype=np.float32), np.zeros(3, np.float32)])
    weights, classes = pack_weights(model.get_weights()), ("red", "green", "blue")
    with CheckpointWriter(tmp_path / "checkpoints") as writer:
        input_ = Preprocessing(8, 8, 3, 1 / 255)
        writer.save(GlobalModel(7, weights, architecture_of(model), classes, input_))
    return tmp_path / "checkpoints" / "round-00007.keras"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for label, bgr in (("red", (0, 0, 255)), ("green", (0, 255, 0)), ("blue", (255, 0, 0))):
        (tmp_path / "images" / label).mkdir(parents=True)
        image = np.full((20, 30, 3), bgr, np.uint8)
        cv2.imwrite(str(tmp_path / "images" / label / "1.png"), image)
    return tmp_path / "images"


def test_a_checkpoint_is_run_by_keras(
    checkpoint: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--model", str(checkpoint), "--images", str(images), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["model"] == {"version": "round-00007", "path": str(checkpoint)}
    assert (document["accuracy"], document["classes"]) == (1.0, ["red", "green", "blue"])


def test_a_keras_file_without_its_checkpoint_or_of_another_is_one_line(
    checkpoint: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--model", str(checkpoint), "--images", str(images)]
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(content[:2000])
    assert main(command) == 1
    assert "Keras cannot load" in capsys.readouterr().err
    keras.Sequential([keras.layers.Input((8, 8, 3)), keras.layers.Flatten()]).save(checkpoint)
    assert main(command) == 1
    assert "has an output of shape (192,); expected (3,)" in capsys.readouterr().err
    checkpoint.write_bytes(content)
    checkpoint.with_suffix(".npz").unlink()
    assert main(command) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "has neither manifest.json, as a model version has, nor round-00007.npz" in line
