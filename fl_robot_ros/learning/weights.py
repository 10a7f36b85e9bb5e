"""A model's weights as one flat array.

Flower sends each array of a record with HTTP requests of its own. One array for the whole model
makes a round several times shorter, and its mean is the mean of the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.errors import ModelError

if TYPE_CHECKING:  # the server checks weights without loading TensorFlow
    import keras


def pack_weights(weights: Sequence[NDArray[np.generic]]) -> NDArray[np.float32]:
    """Return all weights one after another.

    Args:
        weights: Arrays of any shape, as `keras.Model.get_weights` gives them.

    Returns:
        float32 (number of weights,).
    """
    if not weights:
        return np.zeros(0, dtype=np.float32)
    return np.concatenate([np.asarray(array, dtype=np.float32).ravel() for array in weights])


def check_weights(packed: NDArray[np.generic], size: int) -> NDArray[np.float32]:
    """Check that packed weights belong to a model of some size; return them as float32.

    Args:
        packed: Array to check.
        size: Number of weights that the model has.

    Raises:
        ModelError: The array is not flat float32 of that size, or has values that are not finite.
    """
    if packed.dtype != np.float32 or packed.ndim != 1:
        raise ModelError(
            f"weights are {packed.dtype} of shape {packed.shape}; expected float32 ({size},)"
        )
    if packed.size != size:
        raise ModelError(f"{packed.size} weights; the model has {size}")
    broken = int(np.count_nonzero(~np.isfinite(packed)))
    if broken:
        raise ModelError(f"{broken} of {size} weights are not finite numbers")
    return np.asarray(packed, dtype=np.float32)


def set_packed_weights(model: keras.Model, packed: NDArray[np.generic]) -> None:
    """Set a model's weights from one flat array.

    Args:
        model: The model to change.
        packed: float32 (number of weights,), finite.

    Raises:
        ModelError: The array does not match the model.
    """
    flat = check_weights(packed, int(model.count_params()))
    arrays, start = [], 0
    for variable in model.weights:
        stop = start + int(np.prod(variable.shape))
        values = flat[start:stop].reshape(variable.shape)
        is_whole = str(variable.dtype).startswith(("int", "uint", "bool"))
        arrays.append(np.rint(values) if is_whole else values)
        start = stop
    model.set_weights(arrays)
