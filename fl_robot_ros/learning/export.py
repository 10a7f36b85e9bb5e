"""A trained model as files for perception nodes: Keras and LiteRT."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from fl_robot_ros.config import INT8_FILE
from fl_robot_ros.delivery.manifest import KERAS_FILE, TFLITE_FILE
from fl_robot_ros.errors import ModelError
from fl_robot_ros.learning.lite_model import LiteModel
from fl_robot_ros.name_list import name_list
from fl_robot_ros.one_line import one_line

# An operation in a message of the converter, as in "'tf.Erfinv' op is neither a custom op nor".
_LACKING = re.compile(r"'tf\.(\w+)' op is neither a custom op")


def export_model(model: keras.Model, folder: Path) -> LiteModel:
    """Write `model.keras` and `model.tflite`; return the latter, ready to run.

    Args:
        model: A classifier that maps float32 (N, height, width, channels) to (N, classes).
        folder: Existing folder to write to.

    Raises:
        ModelError: The model cannot be converted, or LiteRT cannot run it.
    """
    model.save(folder / KERAS_FILE)
    content = convert(model)
    (folder / TFLITE_FILE).write_bytes(content)
    return LiteModel(content)


def export_int8(
    model: keras.Model, folder: Path, images: NDArray[np.uint8], scale: float
) -> LiteModel:
    """Write `model_int8.tflite`; return it, ready to run.

    Weights and activations are 8 bit, input and output stay float32, so that the file is used
    like model.tflite. An operation that LiteRT has no 8-bit form of stays in float32.

    Args:
        model: As for `export_model`.
        folder: Existing folder to write to.
        images: Images to measure the ranges of activations on, uint8 (N, height, width, channels).
        scale: Factor from them to the model's input.

    Raises:
        ModelError: The model cannot be converted, or LiteRT cannot run it.
    """
    content = convert(model, (images, scale))
    (folder / INT8_FILE).write_bytes(content)
    return LiteModel(content)


def convert(
    model: keras.Model, calibration: tuple[NDArray[np.uint8], float] | None = None
) -> bytes:
    """Return the content of a .tflite file with LiteRT's own operations alone.

    It takes one image at a time: with an open number of images recurrent layers cannot be
    converted.

    Args:
        model: As for `export_model`.
        calibration: Images and scale for 8-bit weights and activations; None for float32.

    Raises:
        ModelError: The model cannot be converted.
    """
    holder = tf.Module()  # The converter takes only weights that TensorFlow's own modules hold.
    holder.weights = [variable.value for variable in model.variables]
    one_image = tf.TensorSpec((1, *model.input_shape[1:]), tf.float32)
    holder.call = tf.function(lambda images: model(images, training=False), autograph=False)
    # The converter prints a report of the model on stdout, and warns that float32 inputs of an
    # 8-bit model have no ranges.
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            converter = tf.lite.TFLiteConverter.from_concrete_functions(
                [holder.call.get_concrete_function(one_image)], holder
            )
            if calibration is not None:
                converter.optimizations = [tf.lite.Optimize.DEFAULT]
                converter.representative_dataset = lambda: _inputs(*calibration)
            return bytes(converter.convert())
        except Exception as error:  # the converter has exceptions of its own
            text = str(error)
            lacking = sorted(set(_LACKING.findall(text)))
            reason = f"LiteRT has no {name_list(lacking)}" if lacking else one_line(text, 300)
            raise ModelError(f"the model cannot be converted to LiteRT: {reason}") from error


def parity(model: keras.Model, lite: LiteModel, inputs: NDArray[np.float32]) -> float:
    """Return the largest difference between outputs of a LiteRT model and of its Keras model.

    Args:
        model: The Keras model.
        lite: The LiteRT model.
        inputs: Preprocessed images in the model's range, float32 (N, height, width, channels).

    Raises:
        ModelError: The LiteRT model fails.
    """
    expected = np.asarray(model(inputs, training=False))
    outputs = np.stack([lite.infer(image) for image in inputs])
    return float(np.abs(outputs - expected).max())


def _inputs(images: NDArray[np.uint8], scale: float) -> Iterator[list[Any]]:
    for image in images:
        yield [(image * np.float32(scale))[np.newaxis]]
