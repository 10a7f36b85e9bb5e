"""The first global model: the operator's own, or the reference CNN."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.errors import ModelError
from fl_robot_ros.images.preprocessing import Preprocessing
from fl_robot_ros.learning.architecture import architecture_of
from fl_robot_ros.learning.trainer import Trainer
from fl_robot_ros.learning.weights import pack_weights


def initial_model(
    path: str, preprocessing: Preprocessing, classes: Sequence[str], seed: int
) -> tuple[str, NDArray[np.float32]]:
    """Return architecture and weights of the first global model.

    Args:
        path: The operator's Keras file; "" for the reference CNN.
        preprocessing: The model's input.
        classes: Class names in the order of the outputs.
        seed: Seed of the reference CNN's weights.

    Returns:
        Keras architecture as JSON, and float32 (number of weights,).

    Raises:
        ModelError: The operator's model cannot be loaded, needs code that robots do not have, or
            does not match these classes or this input.
    """
    if path:
        try:
            model = keras.saving.load_model(path, compile=False, safe_mode=True)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise ModelError(f"initial model {path} cannot be loaded: {error}") from error
    else:
        model = build_reference_cnn(*preprocessing.input_shape, len(classes), seed)
    architecture = architecture_of(model)
    Trainer(architecture, preprocessing, classes)  # raises the errors that robots would raise
    return architecture, pack_weights(model.get_weights())


def build_reference_cnn(
    height: int, width: int, channels: int, num_classes: int, seed: int = 0
) -> keras.Model:
    """Build the seed system's CNN with freshly initialised weights.

    Two 3x3 convolutions (32 and 64 filters, ReLU), each followed by 2x2 max pooling, then
    dropout of 0.5 and a softmax over the classes.

    Args:
        height: Rows of the input, 10 px or more.
        width: Columns of the input, 10 px or more.
        channels: 1 or 3.
        num_classes: Outputs, 2 or more.
        seed: Seed of the initial weights.

    Raises:
        ModelError: The input is too small for the two convolutions, or there are too few classes.
    """
    if min(height, width) < 10 or num_classes < 2:
        raise ModelError(
            f"reference CNN for {width}x{height} px and {num_classes} classes; expected at least "
            "10x10 px and 2 classes"
        )
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((height, width, channels)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(num_classes, activation="softmax"),
        ],
        name="reference_cnn",
    )
