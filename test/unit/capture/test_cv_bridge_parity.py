"""cv_bridge, where it is installed, gives the same pixels as our own decoder."""

from __future__ import annotations

import array
from typing import Any

import numpy as np
import pytest

from fl_robot_ros.capture.decode import decode_frame
from fl_robot_ros.capture.frame import RawFrame

HEIGHT, WIDTH = 12, 16
PIXEL_BYTES = {
    "rgb8": 3,
    "bgr8": 3,
    "rgba8": 4,
    "bgra8": 4,
    "mono8": 1,
    "mono16": 2,
    "rgb16": 6,
    "bgr16": 6,
    "rgba16": 8,
    "bgra16": 8,
    "yuv422": 2,
    "yuv422_yuy2": 2,
    "bayer_rggb8": 1,
    "bayer_bggr8": 1,
    "bayer_gbrg8": 1,
    "bayer_grbg8": 1,
}


@pytest.fixture(scope="module")
def bridge() -> Any:
    """A bridge that has converted an image: some load, but fail beside another NumPy."""
    try:
        from cv_bridge import CvBridge
        from sensor_msgs.msg import Image

        probe = Image(height=1, width=1, encoding="rgb8", step=3, data=array.array("B", b"abc"))
        CvBridge().imgmsg_to_cv2(probe, "bgr8")
    except Exception as error:  # A build for another NumPy raises more than ImportError.
        pytest.skip(f"cv_bridge does not work here: {error}")
    return CvBridge()


# cv_bridge shears pictures whose padding is not a whole number of pixels.
@pytest.mark.parametrize("padding_px", [0, 4])
@pytest.mark.parametrize("encoding", PIXEL_BYTES)
def test_cv_bridge_gives_the_same_pixels(bridge: Any, encoding: str, padding_px: int) -> None:
    from sensor_msgs.msg import Image

    step = (WIDTH + padding_px) * PIXEL_BYTES[encoding]
    data = np.random.default_rng(3).integers(0, 256, HEIGHT * step, np.uint8).tobytes()
    message = Image(height=HEIGHT, width=WIDTH, encoding=encoding, step=step)
    message.data = array.array("B", data)
    theirs = bridge.imgmsg_to_cv2(message, "rgb8")
    ours = decode_frame(RawFrame("/camera", 1, 1, encoding, HEIGHT, WIDTH, step, False, data))
    # It rounds 16 bits to 8 where we take the high byte.
    tolerance = 1 if encoding.endswith("16") else 0
    np.testing.assert_allclose(theirs.astype(int), ours.astype(int), atol=tolerance, rtol=0)
