"""The models that `fl_predict` runs: versions by LiteRT, checkpoints of a server by Keras."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.delivery.manifest import MANIFEST_FILE
from fl_robot_ros.delivery.predictor import Prediction, Predictor
from fl_robot_ros.dependency import require
from fl_robot_ros.errors import ModelError


class Classifier(Protocol):
    """A loaded model."""

    @property
    def path(self) -> Path:
        """The loaded file."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the outputs."""

    @property
    def version(self) -> str:
        """Name of the model."""

    def predict(self, image: NDArray[np.uint8]) -> Prediction:
        """Classify one image, uint8 (H, W, 3), RGB."""


def open_classifier(path: Path) -> Classifier:
    """Load a model.

    Args:
        path: As for `Predictor`; or the .keras file of a server's checkpoint, whose .npz file lies
            beside it.

    Raises:
        ModelError: There is no model, or it cannot be used.
        MissingPackageError: A checkpoint needs TensorFlow, which is not installed.
    """
    if path.suffix != ".keras" or (path.parent / MANIFEST_FILE).exists() or not path.is_file():
        return Predictor(path)
    checkpoint = path.with_suffix(".npz")
    if not checkpoint.is_file():
        raise ModelError(
            f"{path} has neither {MANIFEST_FILE}, as a model version has, nor {checkpoint.name}, "
            "as a server's checkpoint has, beside it, to tell its classes"
        )
    require(("tensorflow", "keras"))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from fl_robot_ros.cloud.checkpoint import load_checkpoint
    from fl_robot_ros.learning.keras_predictor import KerasPredictor

    about = load_checkpoint(checkpoint)
    return KerasPredictor(path, about.classes, about.preprocessing)
