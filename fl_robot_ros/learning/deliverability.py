"""Whether a model can be delivered to robots: what a gate would refuse after a whole run."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np

from fl_robot_ros.delivery.gate import PARITY_TOLERANCE
from fl_robot_ros.errors import ModelError
from fl_robot_ros.learning.export import convert, parity
from fl_robot_ros.learning.lite_model import LiteModel

_IMAGES = 8
_TOLERANCE = 1e-3


def check_deliverable(model: keras.Model, scale: float) -> None:
    """Convert a model to LiteRT and run it on images of noise.

    Args:
        model: A classifier that maps float32 (N, height, width, channels) to (N, classes).
        scale: Factor from 8-bit pixels to its input.

    Raises:
        ModelError: The model cannot be converted or run, its outputs are no probabilities, or the
            converted model gives others.
    """
    for layer in _layers(model):
        if layer.compute_dtype != "float32":
            raise ModelError(
                f"its layer '{layer.name}' computes in {layer.compute_dtype}; build the model "
                "with the dtype policy float32"
            )
    lite = LiteModel(convert(model))
    noise = np.random.default_rng(0).integers(0, 256, (_IMAGES, *model.input_shape[1:]))
    images = noise.astype(np.float32) * np.float32(scale)
    outputs = np.stack([lite.infer(image) for image in images])
    sums = outputs.sum(axis=1)
    if outputs.min() < -_TOLERANCE or np.abs(sums - 1).max() > _TOLERANCE:
        raise ModelError(
            f"its outputs for an image of noise sum to {sums[0]:.3g}; expected probabilities, "
            "which sum to 1: end it in softmax, not in logits or sigmoid"
        )
    difference = parity(model, lite, images)
    if not difference <= PARITY_TOLERANCE:
        raise ModelError(
            f"as a LiteRT model it differs by {difference:.2g}; at most {PARITY_TOLERANCE:g} is "
            "accepted"
        )


def _layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Yield every layer, those of a model inside of the model too."""
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from _layers(layer)
