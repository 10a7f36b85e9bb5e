"""Images of 16-bit values that use few of their bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from bag_recorder import make_image
from numpy.typing import NDArray

from fl_robot_ros.capture.frame_processor import FrameProcessor
from fl_robot_ros.config import ClientSettings
from fl_robot_ros.images.decode import decode_frame
from fl_robot_ros.images.encoding import high_bits
from fl_robot_ros.images.frame import CompressedFrame, RawFrame
from fl_robot_ros.images.image_files import read_image

IMAGE = make_image(6)
IMAGE[0, 0] = 255  # Some pixel is nearly white in most images of a camera.
GREY = IMAGE[..., 1]
# 8-bit pixels by the encoding that carries them, as they lie in its message.
PIXELS: dict[str, NDArray[np.uint8]] = {
    "mono": GREY,
    "rgb": IMAGE,
    "bgr": IMAGE[..., ::-1],
    "rgba": np.dstack([IMAGE, GREY]),
    "bgra": np.dstack([IMAGE[..., ::-1], GREY]),
    "bayer_rggb": GREY,
    "bayer_bggr": GREY,
    "bayer_gbrg": GREY,
    "bayer_grbg": GREY,
}


def raw(
    encoding: str, values: NDArray[Any], topic: str = "/camera", is_bigendian: bool = False
) -> RawFrame:
    height, width = values.shape[:2]
    data = values.astype(values.dtype.newbyteorder(">" if is_bigendian else "<")).tobytes()
    return RawFrame(topic, 5, 6, encoding, height, width, len(data) // height, is_bigendian, data)


def with_bits(pixels: NDArray[np.uint8], bits: int) -> NDArray[np.uint16]:
    """Return 8-bit pixels as values of so many bits, the lower of which say nothing."""
    values = pixels.astype(np.uint16) << (bits - 8)
    return values | ((1 << (bits - 8)) - 1)


@pytest.mark.parametrize("is_bigendian", [False, True])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("name", list(PIXELS))
def test_values_of_any_depth_give_the_image_of_8_bits(
    name: str, bits: int, is_bigendian: bool
) -> None:
    pixels = PIXELS[name]
    values = with_bits(pixels, bits)
    if name.endswith("a"):
        values[..., 3] = 65535
    frame = raw(f"{name}16", values, is_bigendian=is_bigendian)
    np.testing.assert_array_equal(decode_frame(frame), decode_frame(raw(f"{name}8", pixels)))


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("name", ["mono", "bgr", "bgra", "bayer_grbg"])
def test_files_give_the_image_of_the_raw_image(name: str, bits: int) -> None:
    values = with_bits(PIXELS[name], bits)
    done, file = cv2.imencode(".png", values)
    assert done
    frame = CompressedFrame("/camera", 5, 6, f"{name}16; png compressed ", file.tobytes())
    np.testing.assert_array_equal(decode_frame(frame), decode_frame(raw(f"{name}16", values)))


def test_a_image_file_gives_the_image_of_the_raw_image(tmp_path: Path) -> None:
    values = with_bits(PIXELS["bgr"], 12)
    for suffix in (".png", ".tiff"):
        assert cv2.imwrite(str(tmp_path / f"a{suffix}"), values)
        read = read_image(tmp_path / f"a{suffix}")
        assert read is not None
        np.testing.assert_array_equal(read, IMAGE)


@pytest.mark.parametrize(
    ("largest", "bits", "expected"),
    [
        (0, 8, 0),
        (255, 8, 255),
        (256, 10, 64),
        (1023, 10, 255),
        (1024, 12, 64),
        (4095, 12, 255),
        (4096, 14, 64),
        (16383, 14, 255),
        (16384, 16, 64),
        (65535, 16, 255),
    ],
)
def test_the_least_bits_that_hold_the_largest_value(
    largest: int, bits: int, expected: int
) -> None:
    values = np.zeros((4, 4, 3), np.uint16)
    values[2, 1, 1] = largest
    pixels, found = high_bits(values)
    assert (int(pixels.max()), found, pixels.dtype) == (expected, bits, np.uint8)


def test_a_camera_that_uses_few_bits_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    processor = FrameProcessor(ClientSettings())
    for topic, bits in (("/few", 12), ("/few", 10), ("/all", 16), ("/few/other", 10)):
        processed = processor.process(raw("mono16", with_bits(GREY, bits), f"/bit_depth{topic}"))
        assert processed.sample is not None
    assert [message.partition(":")[0] for message in caplog.messages] == [
        "topic /bit_depth/few",
        "topic /bit_depth/few/other",
    ]
