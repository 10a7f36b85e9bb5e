"""Privacy masks: parts of a camera's image that never reach the disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.errors import SettingError
from fl_robot_ros.topic_name import matching_names

# Other names of topics, by topic.
OtherNames = Mapping[str, Sequence[str]]
Polygon = NDArray[np.float64]
_FORM = "'camera/image_raw: 0.0,0.7 1.0,0.7 1.0,1.0 0.0,1.0'"


class PrivacyMasks:
    """Polygons to be painted black, by topic."""

    def __init__(self, texts: Sequence[str], other_names: OtherNames | None = None) -> None:
        """Read masks.

        Args:
            texts: One polygon each, "TOPIC: x,y x,y x,y ..." with three or more corners in shares
                of width and height, 0 to 1 from the upper left, so that they fit every
                resolution. A topic may have several. Names match without a leading "/" and with
                any namespace before them, and mean the compressed topic of a camera too.
            other_names: Other names of topics, as before a remapping.

        Raises:
            SettingError: A text has another form.
        """
        self._masks = [_parse(text) for text in texts]
        self._other_names = other_names or {}

    @property
    def names(self) -> list[str]:
        """The names of topics with a mask, as written."""
        return list(dict.fromkeys(name for name, _ in self._masks))

    def of(self, topic: str) -> list[Polygon]:
        """Return the polygons of a topic, each float64 (corners, 2), x and y from 0 to 1."""
        known_as = (topic, *self._other_names.get(topic, ()))
        return [
            corners
            for name, corners in self._masks
            if any(matching_names(known, (name,)) for known in known_as)
        ]


def painted(image: NDArray[np.uint8], polygons: Sequence[Polygon]) -> NDArray[np.uint8]:
    """Return a copy of an image with polygons painted black.

    Every pixel that a polygon touches is black, its border included.

    Args:
        image: uint8 (H, W, 3).
        polygons: Corners in shares of width and height.
    """
    height, width = image.shape[:2]
    result: NDArray[np.uint8] = np.array(image)
    for corners in polygons:
        points = corners * (width, height)
        # Pixel (0, 0) covers 0 to 1. To round the corners down moves no edge by a whole pixel, so
        # it can only lose pixels that an edge crosses.
        cv2.fillPoly(result, [np.floor(points).astype(np.int32)], (0, 0, 0))
        for start, end in zip(points, np.roll(points, -1, axis=0), strict=True):
            x, y = _crossed(start, end)
            result[np.minimum(y, height - 1), np.minimum(x, width - 1)] = 0
    return result


def _crossed(start: Polygon, end: Polygon) -> NDArray[np.int64]:
    """Return x and y of every pixel that a line crosses, int64 (2, pixels).

    Args:
        start: Where the line begins, x and y in pixels, 0 or more.
        end: Where it ends.
    """
    shares = [np.array([0.0, 1.0])]
    for low, high in zip(start, end, strict=True):
        if low != high:
            borders = np.arange(np.ceil(min(low, high)), np.floor(max(low, high)) + 1)
            shares.append((borders - low) / (high - low))
    stops = np.sort(np.concatenate(shares))
    # Between two borders of pixels, a line is inside one pixel.
    middles = (stops[1:] + stops[:-1]) / 2
    crossed: NDArray[np.int64] = np.floor(
        start[:, None] + middles * (end - start)[:, None]
    ).astype(np.int64)
    return crossed


def _parse(text: str) -> tuple[str, Polygon]:
    topic, separator, rest = text.rpartition(":")
    try:
        pairs = [[float(x) for x in pair.split(",")] for pair in rest.split()]
        corners = np.array(pairs, dtype=float)
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
