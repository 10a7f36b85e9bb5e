"""A trained model as files for perception nodes: Keras and LiteRT."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from fl_robot_ros.delivery.manifest import KERAS_FILE, TFLITE_FILE
from fl_robot_ros.errors import ModelError

# Float32 arithmetic in another order differs in the last digits; a wrong export differs by far.
PARITY_TOLERANCE = 1e-3
_PARITY_IMAGES = 8


def export_model(model: keras.Model, folder: Path) -> None:
    """Write `model.keras` and `model.tflite`, and compare their outputs.

    Args:
        model: A classifier that maps float32 (N, height, width, channels) to (N, classes).
        folder: Existing folder to write to.

    Raises:
        ModelError: The model cannot be converted, or the outputs differ by more than 0.001.
    """
    model.save(folder / KERAS_FILE)
    # The converter prints a report of the model on stdout.
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            content = tf.lite.TFLiteConverter.from_keras_model(model).convert()
        except Exception as error:  # the converter has exceptions of its own
            raise ModelError(f"the model cannot be converted to LiteRT: {error}") from error
    (folder / TFLITE_FILE).write_bytes(content)
    check_parity(model, content)


def check_parity(model: keras.Model, content: bytes) -> None:
    """Compare a LiteRT model with its Keras model, on random input.

    Raises:
        ModelError: An output differs by more than 0.001.
    """
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    sink = interpreter.get_output_details()[0]["index"]
    images = np.random.default_rng(0).random(
        (_PARITY_IMAGES, *model.input_shape[1:]), dtype=np.float32
    )
    expected = np.asarray(model(images, training=False))
    for image, wanted in zip(images, expected, strict=True):
        interpreter.set_tensor(source, image[None])
        interpreter.invoke()
        difference = float(np.abs(interpreter.get_tensor(sink)[0] - wanted).max())
        if not difference <= PARITY_TOLERANCE:
            raise ModelError(
                f"the LiteRT model differs from the Keras model by {difference:g}; at most "
                f"{PARITY_TOLERANCE:g} is accepted"
            )
