"""Backdrops of the signs: walls, hedges and clutter made of gradients, noise and blobs."""

import cv2
import numpy as np
from numpy.typing import NDArray

# Everything behind a sign is out of focus, so it is painted at half the size and enlarged.
_REDUCTION = 2


def paint_backdrop(height_px: int, width_px: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Paint one backdrop.

    Args:
        height_px: Height of the image.
        width_px: Width of the image.
        rng: Random number generator.

    Returns:
        uint8 RGB, shape (height_px, width_px, 3).
    """
    size = (width_px // _REDUCTION, height_px // _REDUCTION)
    # Four corner colours around one base colour, blended over the image.
    mood = rng.uniform(45, 175) + rng.normal(0, 16, 3)
    shades = rng.normal(0, 24, (2, 2, 1)) + rng.normal(0, 10, (2, 2, 3))
    corners = np.clip(mood + shades, 10, 235).astype(np.float32)
    image = np.asarray(cv2.resize(corners, size, interpolation=cv2.INTER_LINEAR), np.float32)
    for grain_px, strength in ((30, 22.0), (9, 13.0), (3, 8.0)):
        rows, columns = size[1] // grain_px + 2, size[0] // grain_px + 2
        noise = rng.normal(0, strength * rng.uniform(0.3, 1.0), (rows, columns))
        smooth = cv2.resize(noise.astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
        image += np.asarray(smooth, np.float32)[..., None]
    things = np.clip(image, 0, 255).astype(np.uint8)
    for _ in range(int(rng.integers(4, 12))):
        color = mood + rng.normal(0, 35) + rng.normal(0, 18, 3)
        _paint_thing(things, np.clip(color, 5, 245), rng)
    soft = cv2.GaussianBlur(things, (0, 0), rng.uniform(0.5, 1.5))
    large = cv2.resize(soft, (width_px, height_px), interpolation=cv2.INTER_LINEAR)
    return np.asarray(large, np.uint8)


def _paint_thing(
    image: NDArray[np.uint8], color: NDArray[np.float64], rng: np.random.Generator
) -> None:
    """Paint an ellipse or a bar into the image, in place, at a random position."""
    height_px, width_px = image.shape[:2]
    center = (int(rng.integers(0, width_px)), int(rng.integers(0, height_px)))
    axes = (int(rng.integers(3, 35)), int(rng.integers(3, 35)))
    angle_deg = float(rng.uniform(0, 180))
    rgb = tuple(float(value) for value in color)
    if rng.random() < 0.6:
        cv2.ellipse(image, center, axes, angle_deg, 0, 360, rgb, -1, cv2.LINE_AA)
    else:
        box = cv2.boxPoints((center, (axes[0] * 2.0, axes[1] * 0.6), angle_deg))
        cv2.fillPoly(image, [np.round(box).astype(np.int32)], rgb, cv2.LINE_AA)
