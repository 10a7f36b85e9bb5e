"""Inference with a Keras file, as `delivery.predictor` does it with LiteRT."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.delivery.predictor import Prediction
from fl_robot_ros.errors import ModelError
from fl_robot_ros.images.preprocessing import Preprocessing
from fl_robot_ros.one_line import one_line


class KerasPredictor:
    """Owns a Keras classifier.

    Attributes:
        path: The loaded .keras file.
        classes: Class names in the order of the outputs.
        preprocessing: The conversion of an image to the model's input.
    """

    def __init__(self, path: Path, classes: tuple[str, ...], preprocessing: Preprocessing) -> None:
        """Load a model, in Keras' safe mode: it runs no code that the file brings.

        Args:
            path: A .keras file.
            classes: Class names in the order of the outputs.
            preprocessing: The conversion of an image to the model's input.

        Raises:
            ModelError: Keras cannot load the file, or its input or output is another.
        """
        self.path = path
        self.classes = classes
        self.preprocessing = preprocessing
        try:
            self._model = keras.models.load_model(path, compile=False, safe_mode=True)
        except Exception as error:  # Keras raises whatever its layers raise.
            raise ModelError(f"Keras cannot load {path}: {one_line(str(error), 300)}") from error
        output = self._infer(np.zeros((*preprocessing.input_shape[:2], 3), dtype=np.uint8))
        if output.shape != (len(classes),):
            raise ModelError(
                f"{path} has an output of shape {output.shape}; expected {(len(classes),)}, one "
                "for each class"
            )

    @property
    def version(self) -> str:
        """Name of the file without its ending."""
        return self.path.stem

    def predict(self, image: NDArray[np.uint8]) -> Prediction:
        """Classify one image.

        Args:
            image: Image, uint8 (H, W, 3), RGB, 0 to 255, of any size.

        Raises:
            FrameError: The image has another shape or type.
            ModelError: The model fails, or its outputs are not finite.
        """
        output = self._infer(image)
        best = int(output.argmax())
        return Prediction(self.classes[best], float(output[best]), output)

    def _infer(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        model_input = self.preprocessing.apply(image)[np.newaxis]
        try:
            outputs = self._model(model_input, training=False)
            output: NDArray[np.float32] = np.asarray(outputs, dtype=np.float32)[0]
        except Exception as error:  # Keras raises whatever its layers raise.
            raise ModelError(f"{self.path} failed: {one_line(str(error), 300)}") from error
        if not np.isfinite(output).all():
            raise ModelError(f"{self.path} gives outputs that are not finite")
        return output
