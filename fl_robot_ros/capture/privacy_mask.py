"""Privacy masks: parts of a camera's picture that never reach the disk."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.capture.topic_name import topic_matches
from fl_robot_ros.errors import SettingError

Polygon = NDArray[np.float64]
_FORM = "'camera/image_raw: 0.0,0.7 1.0,0.7 1.0,1.0 0.0,1.0'"


class PrivacyMasks:
    """Polygons to be painted black, by topic."""

    def __init__(self, texts: Sequence[str] = ()) -> None:
        """Read masks.

        Args:
            texts: One polygon each, "TOPIC: x,y x,y x,y ..." with three or more corners in shares
                of width and height, 0 to 1 from the upper left, so that they fit every
                resolution. A topic may have several. Names match without a leading "/" and with
                any namespace before them.

        Raises:
            SettingError: A text is no such polygon.
        """
        self._masks = [_parse(text) for text in texts]

    def __bool__(self) -> bool:
        """Whether there is any mask."""
        return bool(self._masks)

    def of(self, topic: str) -> list[Polygon]:
        """Return the polygons of a topic, each float64 (corners, 2), x and y from 0 to 1."""
        return [corners for name, corners in self._masks if topic_matches(topic, [name])]


def painted(picture: NDArray[np.uint8], polygons: Sequence[Polygon]) -> NDArray[np.uint8]:
    """Return a copy of a picture with polygons painted black.

    Every pixel that a polygon touches is black, its border included.

    Args:
        picture: uint8 (H, W, 3).
        polygons: Corners in shares of width and height.
    """
    height, width = picture.shape[:2]
    result: NDArray[np.uint8] = np.array(picture)
    for corners in polygons:
        # Pixel (0, 0) covers 0 to 1: the outermost corner is the last pixel.
        points = np.floor(corners * (width, height)).astype(np.int32)
        cv2.fillPoly(result, [points], (0, 0, 0))
    return result


def _parse(text: str) -> tuple[str, Polygon]:
    topic, separator, rest = text.rpartition(":")
    try:
        corners = np.array([[float(x) for x in pair.split(",")] for pair in rest.split()])
        is_polygon = corners.ndim == 2 and corners.shape[0] >= 3 and corners.shape[1] == 2
        is_inside = is_polygon and bool(np.all((corners >= 0) & (corners <= 1)))
    except ValueError:
        is_inside = False
    if not separator or not topic.strip() or not is_inside:
        raise SettingError(
            f"privacy mask {text[:80]!r}; expected a topic and three or more corners from 0 to 1, "
            f"as in {_FORM}"
        )
    return topic.strip(), corners
