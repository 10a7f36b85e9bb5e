"""Smoothing of a camera's results over time."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.delivery.predictor import Prediction, Predictor


class Smoothing:
    """Owns the exponential mean of one camera's probabilities.

    A frame that comes `dt` s after the one before weighs `1 - exp(-dt / tau)`: what a model said
    `tau` s ago counts 37 %, at every frame rate (first-order low-pass filter).
    """

    def __init__(self, tau_sec: float) -> None:
        """Start without a past.

        Args:
            tau_sec: Time constant in s; 0: predictions pass unchanged.
        """
        self._tau_sec = tau_sec
        self._predictor: Predictor | None = None
        self._mean: NDArray[np.float32] | None = None
        self._time_sec = 0.0

    def apply(self, prediction: Prediction, predictor: Predictor, time_sec: float) -> Prediction:
        """Return the smoothed prediction of the next frame.

        Args:
            prediction: What the model says of the frame.
            predictor: The model; with another one the mean starts anew.
            time_sec: When the frame was classified, in s of a steady clock.
        """
        if self._tau_sec <= 0:
            return prediction
        mean = prediction.probabilities
        if self._mean is not None and predictor is self._predictor:
            elapsed_sec = max(0.0, time_sec - self._time_sec)
            weight = np.float32(1.0 - math.exp(-elapsed_sec / self._tau_sec))
            mean = self._mean + weight * (mean - self._mean)
        self._predictor, self._mean, self._time_sec = predictor, mean, time_sec
        best = int(mean.argmax())
        return Prediction(predictor.classes[best], float(mean[best]), mean)
