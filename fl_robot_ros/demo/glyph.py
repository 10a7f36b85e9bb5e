"""Glyphs on the signs: handwritten digits and hand-drawn shapes.

A glyph is a float32 array of shape (GLYPH_HEIGHT_PX, GLYPH_WIDTH_PX), 0.0 where the board shows
and 1.0 where there is ink.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

GLYPH_HEIGHT_PX = 188
GLYPH_WIDTH_PX = 256

SPLITS = ("robot1", "robot2", "test")

_SCAN_LEVELS = 16.0
_SCAN_SPLIT_SEED = 1797
_TEST_SHARE = 0.2


class GlyphSource(Protocol):
    """Source of the glyphs of a scene."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Every label that can be drawn."""
        ...

    def pool_size(self, label: str, split: str) -> int:
        """Return how many different glyphs of a label a split has."""
        ...

    def glyph(self, label: str, split: str, index: int) -> NDArray[np.float32]:
        """Return one glyph, the same one whenever the arguments are the same."""
        ...


class DigitGlyphs:
    """Handwritten digits: scikit-learn's bundled scans of 8x8 pixels, drawn large and smooth.

    A fifth of the scans of each digit belongs to the test split and the rest is halved between
    the robots, so that no scan is seen in two places.
    """

    classes = tuple("0123456789")

    def __init__(self) -> None:
        """Load the scans and divide them among the splits."""
        from sklearn.datasets import load_digits  # Takes a second, and only the demo needs it.

        bunch: Any = load_digits()
        self._scans: NDArray[np.float32] = (bunch.images / _SCAN_LEVELS).astype(np.float32)
        rng = np.random.default_rng(_SCAN_SPLIT_SEED)
        self._pools: dict[tuple[str, str], NDArray[np.int64]] = {}
        for digit, label in enumerate(self.classes):
            scans = rng.permutation(np.flatnonzero(bunch.target == digit))
            test, robots = np.split(scans, [round(len(scans) * _TEST_SHARE)])
            half = len(robots) // 2
            for split, pool in zip(SPLITS, (robots[:half], robots[half:], test), strict=True):
                self._pools[label, split] = pool

    def pool_size(self, label: str, split: str) -> int:
        """Return how many scans of a digit a split has."""
        return len(self._pools[label, split])

    def scan_number(self, label: str, split: str, index: int) -> int:
        """Return the position in scikit-learn's data set, 0 to 1796, of a split's scan."""
        return int(self._pools[label, split][index])

    def glyph(self, label: str, split: str, index: int) -> NDArray[np.float32]:
        """Return one scan as smooth strokes of ink."""
        scan = self._scans[self.scan_number(label, split, index)]
        paper = np.pad(scan, 1)
        size = (GLYPH_WIDTH_PX, GLYPH_HEIGHT_PX)
        large = cv2.resize(paper, size, interpolation=cv2.INTER_CUBIC)
        soft = cv2.GaussianBlur(large, (0, 0), GLYPH_HEIGHT_PX / 60)
        # A pixel of a scan counts the inked quarter-pixels below it, so an edge of a stroke lies
        # near one half; the lower bound keeps strokes that are thinner than a pixel.
        ramp = np.clip((soft - 0.28) / (0.68 - 0.28), 0.0, 1.0)
        return np.asarray(ramp * ramp * (3.0 - 2.0 * ramp), np.float32)


class ShapeGlyphs:
    """Circle, square, star and triangle as a person paints them, filled or in outline."""

    _POOL_SIZE = 1000

    def __init__(self) -> None:
        """Name the shapes."""
        self._outlines: Mapping[str, Callable[[], NDArray[np.float64]]] = {
            "circle": lambda: _polygon(72),
            "square": lambda: _polygon(4, turn=math.pi / 4),
            "star": _star,
            "triangle": lambda: _polygon(3, turn=-math.pi / 2),
        }

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the shapes."""
        return tuple(self._outlines)

    def pool_size(self, label: str, split: str) -> int:
        """Return how many drawings of a shape a split has."""
        del label, split
        return self._POOL_SIZE

    def glyph(self, label: str, split: str, index: int) -> NDArray[np.float32]:
        """Return one drawing; each split has drawings of its own."""
        rng = np.random.default_rng([self.classes.index(label), SPLITS.index(split), index])
        corners = self._outlines[label]()
        corners += rng.uniform(-0.05, 0.05, corners.shape) * (len(corners) < 20)
        angle = rng.uniform(-0.25, 0.25)
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        stretch = rng.uniform(0.88, 1.0, 2)
        radius_px = rng.uniform(0.38, 0.46) * GLYPH_HEIGHT_PX
        center_px = np.array([GLYPH_WIDTH_PX, GLYPH_HEIGHT_PX]) / 2
        points = (corners * stretch) @ turn.T * radius_px + center_px
        fixed = np.round(points * 16).astype(np.int32).reshape(1, -1, 2)
        canvas = np.zeros((GLYPH_HEIGHT_PX, GLYPH_WIDTH_PX), np.uint8)
        if rng.random() < 0.5:
            cv2.fillPoly(canvas, [fixed[0]], (255.0,), cv2.LINE_AA, 4)
        else:
            width = int(rng.integers(12, 21))
            cv2.polylines(canvas, [fixed[0]], True, (255.0,), width, cv2.LINE_AA, 4)
        return canvas.astype(np.float32) / np.float32(255.0)


def _polygon(corners: int, turn: float = 0.0) -> NDArray[np.float64]:
    """Return the corners of a regular polygon in the unit circle, shape (corners, 2)."""
    angles = np.arange(corners) * (2 * math.pi / corners) + turn
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _star() -> NDArray[np.float64]:
    """Return the ten corners of a five-pointed star in the unit circle."""
    corners = _polygon(10, turn=-math.pi / 2)
    corners[1::2] *= 0.42
    return corners
