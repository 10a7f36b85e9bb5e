"""Decodes frames with cv_bridge, where it is installed and works, into the very same pixels.

Our own decoder serves the rest: encodings that cv_bridge lacks or rounds differently, padded rows,
which it may shear, big-endian values, on which it fails beside NumPy 2, and compressed frames.
"""

from __future__ import annotations

import array
import importlib.util
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import Image

from fl_robot_ros.images.decode import decode_frame
from fl_robot_ros.images.frame import Frame, RawFrame, frame_bytes

Decode = Callable[[Frame], NDArray[np.uint8]]

# Bytes of a pixel by encoding; rgb8 needs no conversion.
BRIDGED_ENCODINGS = {
    "bgr8": 3,
    "rgba8": 4,
    "bgra8": 4,
    "mono8": 1,
    "yuv422": 2,
    "bayer_rggb8": 1,
    "bayer_bggr8": 1,
    "bayer_gbrg8": 1,
    "bayer_grbg8": 1,
}

_PROBE = "from fl_robot_ros.ros.frame_decoder import BridgeDecoder; BridgeDecoder().check()"
_PROBE_TIMEOUT_SEC = 30.0


def find_decoder() -> tuple[Decode, str]:
    """Return what decodes frames, as `decode_frame` does, and a line on what it is."""
    reason = _why_not()
    if reason:
        return decode_frame, f"raw frames are decoded without cv_bridge ({reason[:200]})"
    return BridgeDecoder(), "raw frames are decoded by cv_bridge"


def _why_not() -> str:
    """Return why cv_bridge does not work here, "" where it does.

    Another process tries it: a build for NumPy 1 beside NumPy 2 ends in a segmentation fault.
    """
    if importlib.util.find_spec("cv_bridge") is None:
        return "it is not installed"
    try:
        probe = subprocess.run(
            [sys.executable, "-c", _PROBE],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PROBE_TIMEOUT_SEC,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"it could not be tried: {error}"
    if not probe.returncode:
        return ""
    if probe.returncode < 0:
        return (
            f"it does not work here: signal {-probe.returncode} ended it, as where it was built "
            f"for another NumPy than {np.__version__}"
        )
    lines = probe.stderr.strip().splitlines()
    last = lines[-1] if lines else f"exit code {probe.returncode}"
    return f"it does not work here: {last}"


class BridgeDecoder:
    """A `decode_frame` that lets cv_bridge convert what both convert alike."""

    def __init__(self) -> None:
        """Load cv_bridge.

        Raises:
            Exception: It is not installed, or does not work here.
        """
        from cv_bridge import CvBridge

        self._bridge: Any = CvBridge()

    def check(self) -> None:
        """Have cv_bridge convert an image of every encoding that it will get.

        Raises:
            Exception: It does not work here, lacks an encoding, or gives other pixels.
        """
        for encoding, pixel_bytes in BRIDGED_ENCODINGS.items():
            data = bytes(range(0, 48 * pixel_bytes, 3))
            frame = RawFrame("", 0, 0, encoding, 4, 4, 4 * pixel_bytes, False, data)
            if not np.array_equal(self.convert(frame), decode_frame(frame)):
                raise ValueError(f"it gives other pixels for {encoding}")

    def __call__(self, frame: Frame) -> NDArray[np.uint8]:
        """Return a frame's image, uint8 (H, W, 3), RGB.

        Raises:
            FrameError: As `decode_frame` does.
        """
        if isinstance(frame, RawFrame):
            row_bytes = frame.width * BRIDGED_ENCODINGS.get(frame.encoding, 0)
            is_whole = frame_bytes(frame.data).size == frame.height * row_bytes
            # OpenCV wants at least 3x3 pixels of a mosaic, and pairs of pixels for YUV.
            is_usual = frame.step == row_bytes and frame.width % 2 == 0 and frame.height >= 4
            if row_bytes and is_whole and is_usual and frame.width >= 4:
                return self.convert(frame)
        return decode_frame(frame)

    def convert(self, frame: RawFrame) -> NDArray[np.uint8]:
        """Return the image of a whole frame without padding, uint8 (H, W, 3), RGB.

        Raises:
            Exception: cv_bridge cannot convert it.
        """
        data = frame.data
        if not isinstance(data, array.array):
            # Message fields take no other type without looking at every byte.
            data = array.array("B", bytes(data))
        message = Image(
            height=frame.height,
            width=frame.width,
            encoding=frame.encoding,
            is_bigendian=0,
            step=frame.step,
            data=data,
        )
        return np.asarray(self._bridge.imgmsg_to_cv2(message, "rgb8"), dtype=np.uint8)
