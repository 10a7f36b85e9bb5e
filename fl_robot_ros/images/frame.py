"""Frames: camera images with their stamps, as they came from a message."""

from __future__ import annotations

import array
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Union

import numpy as np
from numpy.typing import NDArray

# Enough to tell two images of a camera apart, and cheap compared with encoding one.
_DIGESTED_BYTES = 1 << 12

FrameData = Union[bytes, bytearray, memoryview, "array.array[int]", NDArray[np.uint8]]


@dataclass(frozen=True)
class RawFrame:
    """An uncompressed image, the content of sensor_msgs/msg/Image.

    Attributes:
        topic: Name of the camera's topic.
        stamp_ns: Capture time from the header, in ns since the epoch of the camera's clock;
            `published_ns` if the header has 0.
        published_ns: When the message was published or recorded, in ns; the time base for labels.
        encoding: Pixel format by its ROS name, for example "rgb8".
        height: Rows of pixels.
        width: Pixels in a row.
        step: Bytes in a row, padding included.
        is_bigendian: Whether numbers wider than a byte have their high byte first.
        data: The pixels, `height * step` bytes or more; the last row may lack its padding.
        to_rgb: Returns the image as `decode_frame` would, where the frame's source has a converter
            of its own; what returns None leaves it to `decode_frame`.
        frame_id: Coordinate frame of the camera.
    """

    topic: str
    stamp_ns: int
    published_ns: int
    encoding: str
    height: int
    width: int
    step: int
    is_bigendian: bool
    data: FrameData
    to_rgb: Callable[[], NDArray[np.uint8] | None] | None = field(
        default=None, compare=False, repr=False
    )
    frame_id: str = ""


@dataclass(frozen=True)
class CompressedFrame:
    """A compressed image, the content of sensor_msgs/msg/CompressedImage.

    Attributes:
        topic: Name of the camera's topic.
        stamp_ns: Capture time from the header, in ns since the epoch of the camera's clock;
            `published_ns` if the header has 0.
        published_ns: When the message was published or recorded, in ns; the time base for labels.
        format: The publisher's name of the compression, for example "jpeg".
        data: The bytes of the image file.
        frame_id: Coordinate frame of the camera.
    """

    topic: str
    stamp_ns: int
    published_ns: int
    format: str
    data: FrameData
    frame_id: str = ""


Frame = RawFrame | CompressedFrame


def frame_digest(data: FrameData) -> str:
    """Return 16 hexadecimal digits that identify a frame's data.

    A hash of its length and of 4,096 or more of its bytes, evenly spaced.
    """
    values = frame_bytes(data)
    # An odd step visits every channel and column.
    sample = values[:: len(values) // _DIGESTED_BYTES | 1]
    return hashlib.sha256(b"%d " % len(values) + sample.tobytes()).hexdigest()[:16]


def frame_bytes(data: FrameData) -> NDArray[np.uint8]:
    """Return a frame's data as a flat uint8 array without copying it."""
    return np.frombuffer(data, dtype=np.uint8)
