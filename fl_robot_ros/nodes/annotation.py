"""Draws a prediction into its image."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.delivery.predictor import Prediction
from fl_robot_ros.images.drawn_text import draw_text, drawable_names, text_width

_BAR = (24, 26, 30)
_TEXT = (245, 245, 245)
_METER = (64, 180, 110)


def draw_prediction(image: NDArray[np.uint8], prediction: Prediction) -> NDArray[np.uint8]:
    """Return a copy of the image with label and confidence in a bar at its lower edge.

    Args:
        image: Image, uint8 (H, W, 3), RGB.
        prediction: Label and confidence to write.

    Returns:
        Image of the same shape and type.
    """
    height, width = image.shape[:2]
    bar = max(10, min(height // 9, 60))
    scale = bar / 34.0
    top = max(0, height - bar)
    drawn: NDArray[np.uint8] = image.copy()
    strip = drawn[top:].astype(np.float32) * 0.25 + np.array(_BAR, np.float32) * 0.75
    drawn[top:] = strip.astype(np.uint8)
    share = min(1.0, max(0.0, prediction.confidence))
    filled = round(width * share)
    cv2.rectangle(drawn, (0, top), (filled, top + max(1, bar // 10)), _METER, cv2.FILLED)
    label = drawable_names([prediction.label])[prediction.label]
    text = f"{label}  {prediction.confidence:.0%}"
    thickness = max(1, round(scale * 1.6))
    needed = text_width(text, scale, thickness=thickness)
    if needed > width - bar // 2:
        scale *= (width - bar // 2) / needed
    origin = (bar // 4, top + round(bar * 0.75))
    draw_text(drawn, text, origin, scale, _TEXT, thickness=thickness)
    return drawn
