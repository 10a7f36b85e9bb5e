"""Image quality: brightness, sharpness and fingerprint, and rules for them."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

# Longer side of the measured image: large enough for edges, small enough to be fast.
MEASURED_SIDE_PX = 160
_FINGERPRINT_SIDE_PX = 8


class ImageQuality(NamedTuple):
    """Measures of one image.

    Attributes:
        brightness: Mean grey value, 0 to 255.
        sharpness: Variance of the Laplacian over the image at 160 px or less (Pech-Pacheco et
            al. 2000, "Diatom autofocusing in brightfield microscopy"); 0 for a flat image,
            hundreds for a sharp one.
        fingerprint: Difference hash of 64 bits: whether each of 8x8 fields is brighter than its
            right neighbour. Similar images differ in few bits.
    """

    brightness: float
    sharpness: float
    fingerprint: int


def measure_quality(grey: NDArray[np.uint8]) -> ImageQuality:
    """Measure an image.

    Args:
        grey: uint8 (H, W), the whole image in any size; it is averaged down to 160 px.
    """
    small = _halved(grey, MEASURED_SIDE_PX)
    scale = MEASURED_SIDE_PX / max(small.shape)
    if scale < 1:
        size = (max(1, round(small.shape[1] * scale)), max(1, round(small.shape[0] * scale)))
        small = np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_AREA), np.uint8)
    edges = cv2.Laplacian(small, cv2.CV_16S)
    # cv2.meanStdDev takes ten times as long.
    variance = cv2.norm(edges, cv2.NORM_L2SQR) / edges.size - cv2.mean(edges)[0] ** 2
    fields_size = (_FINGERPRINT_SIDE_PX + 1, _FINGERPRINT_SIDE_PX)
    fields = cv2.resize(
        _halved(small, _FINGERPRINT_SIDE_PX * 8), fields_size, interpolation=cv2.INTER_AREA
    )
    bits = np.packbits(fields[:, :-1] > fields[:, 1:])
    return ImageQuality(
        brightness=cv2.mean(fields)[0],
        sharpness=max(0.0, variance),
        fingerprint=int.from_bytes(bits, "big"),
    )


def _halved(grey: NDArray[np.uint8], min_side_px: int) -> NDArray[np.uint8]:
    """Halve an image while its longer side stays long enough, which is fast in OpenCV.

    An odd last row or column is dropped.
    """
    while max(grey.shape) >= 2 * min_side_px and min(grey.shape) >= 2:
        height, width = grey.shape[0] // 2, grey.shape[1] // 2
        pairs = grey[: 2 * height, : 2 * width]
        half = cv2.resize(pairs, (width, height), interpolation=cv2.INTER_AREA)
        grey = np.asarray(half, np.uint8)
    return grey
