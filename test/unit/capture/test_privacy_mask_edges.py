"""Privacy masks to the last pixel."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fl_robot_ros.capture.privacy_mask import painted

SIZE = (13, 17)
# Points in a pixel, in each direction.
FINE = 16


def covered(corners: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which pixels a polygon covers in part, bool (H, W), by points inside of them."""
    height, width = SIZE
    x, y = np.meshgrid(
        (np.arange(width * FINE) + 0.5) / FINE, (np.arange(height * FINE) + 0.5) / FINE
    )
    inside = np.zeros(x.shape, bool)
    points = corners * (width, height)
    for (x1, y1), (x2, y2) in zip(points, np.roll(points, -1, axis=0), strict=True):
        if y1 != y2:
            is_beside = (y1 <= y) != (y2 <= y)
            inside ^= is_beside & (x < x1 + (y - y1) * (x2 - x1) / (y2 - y1))
    return inside.reshape(height, FINE, width, FINE).any(axis=(1, 3))


def grown(pixels: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels and those around them."""
    wide = np.pad(pixels, 1)
    height, width = pixels.shape
    return np.any(
        [wide[j : j + height, i : i + width] for j in range(3) for i in range(3)], axis=0
    )


@pytest.mark.parametrize("corners", [3, 4, 7])
def test_every_pixel_that_a_polygon_covers_in_part_is_black(corners: int) -> None:
    random = np.random.default_rng(corners)
    white = np.full((*SIZE, 3), 255, np.uint8)
    for _ in range(200):
        polygon = random.uniform(0, 1, (corners, 2))
        black = (painted(white, [polygon]) == 0).all(axis=2)
        wanted = covered(polygon)
        assert black[wanted].all(), polygon
        # No more than a pixel beside it.
        assert not black[~grown(wanted | outline(polygon))].any(), polygon


def outline(polygon: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return the pixels of many points on a polygon's edges: needles cover no point inside."""
    pixels = np.zeros(SIZE, bool)
    points = polygon * SIZE[::-1]
    for start, end in zip(points, np.roll(points, -1, axis=0), strict=True):
        x, y = (start + np.linspace(0, 1, 500)[:, None] * (end - start)).astype(int).T
        pixels[np.minimum(y, SIZE[0] - 1), np.minimum(x, SIZE[1] - 1)] = True
    return pixels


def test_the_borders_of_the_image_and_lines_between_pixels() -> None:
    white = np.full((10, 10, 3), 255, np.uint8)
    whole = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    assert painted(white, [whole]).max() == 0
    lower = painted(white, [np.array([[0.0, 0.5], [1.0, 0.5], [1.0, 1.0], [0.0, 1.0]])])
    assert lower[5:].max() == 0
    assert lower[:5].min() == 255
    point = painted(white, [np.array([[0.55, 0.55]] * 3)])
    assert np.argwhere(point[..., 0] == 0).tolist() == [[5, 5]]
