"""Draws a prediction into its image."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.delivery.predictor import Prediction
from fl_robot_ros.images.drawn_text import draw_text, drawable_names, shortened, text_width

# Text in an image whose shorter side is smaller would cover it or be illegible.
SMALL_EDGE_PX = 180
_ENLARGED_EDGE_PX = 240

_BAR = (24, 26, 30)
_TEXT = (245, 245, 245)
_NOTE = (178, 184, 194)
_METER = (64, 180, 110)
_LOWEST_BAR_PX, _HIGHEST_BAR_PX = 26, 64
_BARS_PER_EDGE = 13
_PX_PER_SCALE = 38.0
# A label that is too long is drawn smaller down to this share, and then shortened.
_SMALLEST = 0.75
# Width that is a label's, whatever stands beside it.
_LABEL_SHARE = 0.45


def draw_prediction(
    image: NDArray[np.uint8], prediction: Prediction, version: str = ""
) -> NDArray[np.uint8]:
    """Return a copy of the image with label, confidence and version in a bar at its lower edge.

    Args:
        image: Image, uint8 (H, W, 3), RGB.
        prediction: Label and confidence to write.
        version: Model version, left out where there is no room for it; "" for none.

    Returns:
        Image of the same type and shape; one with a side of less than 180 px enlarged by a whole
        number, without smoothing, so that its shorter side has 240 px or more.
    """
    return annotated(image, prediction.label, prediction.confidence, version)


def annotated(
    image: NDArray[np.uint8], label: str, confidence: float | None, note: str, heading: str = ""
) -> NDArray[np.uint8]:
    """Return an image as `draw_prediction` does.

    Args:
        image: Image, uint8 (H, W, 3), RGB.
        label: What the image shows.
        confidence: Its probability, 0 to 1; None where it is unknown.
        note: Short text beside it, left out where there is no room.
        heading: Text in a second bar at the upper edge; "": no such bar.
    """
    drawn = enlarged(image)
    height, width = drawn.shape[:2]
    bar_px = _bar_px(drawn)
    scale = bar_px / _PX_PER_SCALE
    margin = bar_px // 3
    lower = _bar(drawn, height - bar_px, bar_px)
    right = width - margin
    if confidence is not None:
        filled = round(width * min(1.0, max(0.0, confidence)))
        cv2.rectangle(lower, (0, 0), (filled, max(1, bar_px // 12)), _METER, cv2.FILLED)
        right = _write_before(lower, f"{confidence:.0%}", right, scale, _TEXT)
    if note:
        note_scale = 0.8 * scale
        room = right - margin - _LABEL_SHARE * width
        if text_width(note, note_scale, thickness=_stroke(note_scale)) <= room:
            right = _write_before(lower, note, right, note_scale, _NOTE)
    _write(lower, label, right - margin, scale)
    if heading:
        upper = _bar(drawn, 0, bar_px)
        _write(upper, heading, width - margin, 0.8 * scale)
    return drawn


def enlarged(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a copy of an image, enlarged by a whole number where it is too small for text."""
    edge = max(1, min(image.shape[:2]))
    factor = -(-_ENLARGED_EDGE_PX // edge) if edge < SMALL_EDGE_PX else 1
    # A strip of a few px would become very long.
    factor = min(factor, max(1, 16 * _ENLARGED_EDGE_PX // max(image.shape[:2])))
    return image.repeat(factor, axis=0).repeat(factor, axis=1) if factor > 1 else image.copy()


def _bar_px(image: NDArray[np.uint8]) -> int:
    height, width = image.shape[:2]
    edge = int(min(height, width))
    return min(edge, max(_LOWEST_BAR_PX, min(edge // _BARS_PER_EDGE, _HIGHEST_BAR_PX)))


def _bar(image: NDArray[np.uint8], top: int, height: int) -> NDArray[np.uint8]:
    """Darken a strip of the image; return it."""
    strip: NDArray[np.uint8] = image[top : top + height]
    strip[:] = cv2.addWeighted(strip, 0.25, np.full_like(strip, _BAR), 0.75, 0)
    return strip


def _write_before(
    bar: NDArray[np.uint8], text: str, right: int, scale: float, colour: tuple[int, int, int]
) -> int:
    """Write a text that ends at a column; return the column before it, with some distance."""
    [text] = drawable_names([text]).values()
    left = right - text_width(text, scale, thickness=_stroke(scale))
    draw_text(bar, text, (left, _base_line(bar)), scale, colour, thickness=_stroke(scale))
    return left - int(bar.shape[0]) // 2


def _write(bar: NDArray[np.uint8], text: str, room_px: int, scale: float) -> None:
    """Write a text at the left, smaller or shortened where it is too long."""
    [text] = drawable_names([text]).values()
    needed = text_width(text, scale, thickness=_stroke(scale))
    scale *= min(1.0, max(_SMALLEST, room_px / max(1, needed)))
    stroke = _stroke(scale)
    text = shortened(text, scale, room_px, thickness=stroke, keeps_end=True)
    draw_text(bar, text, (bar.shape[0] // 3, _base_line(bar)), scale, _TEXT, thickness=stroke)


def _stroke(scale: float) -> int:
    return max(1, round(scale * 1.5))


def _base_line(bar: NDArray[np.uint8]) -> int:
    return round(float(bar.shape[0]) * 0.72)
