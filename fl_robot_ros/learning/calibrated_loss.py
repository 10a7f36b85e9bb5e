"""A loss for robots that do not see every class equally often.

A robot that sees 4 of 10 classes learns first of all that the other 6 do not occur, and the mean
of such robots forgets with every round. Here the loss sees log-probabilities shifted by the log of
the class's share in the robot's own images, so that a rare class need not be made improbable. A
class that only other robots see takes no part: its outputs stay as they left them. A class that
nobody sees is learnt to be improbable, as always.

Logit adjustment: Menon et al., "Long-tail learning via logit adjustment", ICLR 2021. By the shares
of each robot: Zhang et al., "Federated Learning with Label Distribution Skew via Logits
Calibration", ICML 2022.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

# Below it a probability has no gradient: e^-69, and its logarithm is finite in float32.
_SMALLEST_PROBABILITY = 1e-30
# Images that a class without any counts as: log(0) is no number.
_ABSENT = 1e-4


class CalibratedCrossEntropy(keras.losses.Loss):  # type: ignore[misc]
    """Cross-entropy of softmax outputs and class numbers; plain until it is calibrated."""

    def __init__(self, num_classes: int) -> None:
        """Begin with the plain loss."""
        super().__init__(name="calibrated_cross_entropy")
        self._shift = keras.Variable(np.zeros(num_classes, np.float32), trainable=False)

    def set_plain(self) -> None:
        """Be the plain loss from now on."""
        self._shift.assign(np.zeros(self._shift.shape, np.float32))

    def set_class_counts(self, counts: Sequence[int], absent: Sequence[int] = ()) -> None:
        """Calibrate the loss from now on.

        Args:
            counts: The robot's images of each class, one or more in all.
            absent: Numbers of the classes that no robot has images of.
        """
        images = np.maximum(np.asarray(counts, np.float64), _ABSENT)
        seen = images[images >= 1.0]
        for number in absent:
            images[number] = max(images[number], seen.mean())
        self._shift.assign(np.log(images / images.sum()).astype(np.float32))

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each image, (batch,).

        Args:
            y_true: Class numbers, (batch,).
            y_pred: Softmax outputs, (batch, classes).
        """
        logits = keras.ops.log(keras.ops.maximum(y_pred, _SMALLEST_PROBABILITY)) + self._shift
        return keras.ops.sparse_categorical_crossentropy(y_true, logits, from_logits=True)
