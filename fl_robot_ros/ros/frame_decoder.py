"""Converts raw images with cv_bridge, where it is installed and works, into the very same pixels.

Our own decoder does the rest: encodings that cv_bridge lacks or rounds differently, and padded
rows, which it may shear.
"""

from __future__ import annotations

import functools
import importlib.util
import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import Image

# Bytes of a pixel by encoding; rgb8 needs no conversion.
BRIDGED_ENCODINGS = {"bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1, "yuv422": 2}
BRIDGED_ENCODINGS |= {f"bayer_{order}8": 1 for order in ("rggb", "bggr", "gbrg", "grbg")}

_logger = logging.getLogger(__name__)


def to_rgb(message: Image) -> NDArray[np.uint8] | None:
    """Return an image, uint8 (H, W, 3), RGB; None for one that is not for cv_bridge."""
    row_bytes = message.width * BRIDGED_ENCODINGS.get(message.encoding, 0)
    # OpenCV wants at least 3x3 pixels of a mosaic, and pairs of pixels for YUV.
    is_usual = message.width % 2 == 0 and min(message.width, message.height) >= 4
    is_whole = message.step == row_bytes and len(message.data) == message.height * row_bytes
    bridge = load_bridge() if row_bytes and is_usual and is_whole else None
    try:
        return bridge and np.asarray(bridge.imgmsg_to_cv2(message, "rgb8"), dtype=np.uint8)
    except Exception:  # Our own decoder can do it, or says why not.
        return None


@functools.cache
def load_bridge() -> Any:
    """Return a CvBridge, None where none works; log which it is."""
    try:
        bridge = _open_bridge()
    except Exception as error:
        _logger.info("raw images are decoded without cv_bridge: %s", error)
        return None
    _logger.info("raw images are decoded by cv_bridge")
    return bridge


def bridge_fault() -> str:
    """Return why an installed cv_bridge does not work, "" if it does or there is none."""
    try:
        _open_bridge()
    except Exception as error:
        return str(error) if importlib.util.find_spec("cv_bridge") else ""
    return ""


def _open_bridge() -> Any:
    """Return a new CvBridge.

    Raises:
        Exception: It is not installed, or does not work in this Python.
    """
    spec = importlib.util.find_spec("cv_bridge")
    if spec is None:
        raise ImportError("it is not installed")
    # Beside NumPy 2, a build for NumPy 1 can be imported, and ends the process when it is used
    # (ros-perception/vision_opencv#535). Builds for NumPy 2 know the module's new name.
    for file in Path(str(spec.origin)).parent.rglob("*.so"):
        content = file.read_bytes()
        is_old = b"numpy.core." in content and b"numpy._core." not in content
        if is_old and int(np.__version__.partition(".")[0]) >= 2:
            raise ImportError(f"it was built for NumPy 1, and this is {np.__version__}")
    from cv_bridge import CvBridge

    return CvBridge()
