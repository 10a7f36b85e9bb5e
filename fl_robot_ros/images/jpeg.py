"""Encodes JPEG files."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.errors import FrameError


def encode_jpeg(image: NDArray[np.uint8], quality: int) -> bytes:
    """Encode an image as a JPEG file.

    Args:
        image: uint8 (H, W, 3), RGB.
        quality: 1 to 100.

    Raises:
        FrameError: The image is too large for a JPEG file.
    """
    height, width = image.shape[:2]
    try:
        is_done, encoded = cv2.imencode(
            ".jpg",
            cv2.cvtColor(image, cv2.COLOR_RGB2BGR),
            [cv2.IMWRITE_JPEG_QUALITY, quality],
        )
    except cv2.error as error:
        raise FrameError(f"an image of {width}x{height} pixels: {error}"[:300]) from error
    if not is_done:
        raise FrameError(f"an image of {width}x{height} pixels does not fit a JPEG file")
    return encoded.tobytes()
