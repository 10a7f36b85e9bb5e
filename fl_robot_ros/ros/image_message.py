"""Converts image messages to frames, and images to messages."""

from __future__ import annotations

import array
from functools import partial

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from fl_robot_ros.images.frame import CompressedFrame, RawFrame
from fl_robot_ros.images.jpeg import encode_jpeg
from fl_robot_ros.ros.frame_decoder import to_rgb

_NS_PER_SEC = 1_000_000_000


def frame_from_image(message: Image, topic: str, published_ns: int) -> RawFrame:
    """Return an Image message as a frame that shares its memory.

    Args:
        message: The message.
        topic: Name of its topic.
        published_ns: When it was published, in ns since the epoch.
    """
    return RawFrame(
        topic=topic,
        stamp_ns=_stamp_ns(message.header) or published_ns,
        published_ns=published_ns,
        encoding=message.encoding,
        height=message.height,
        width=message.width,
        step=message.step,
        is_bigendian=bool(message.is_bigendian),
        data=message.data,
        to_rgb=partial(to_rgb, message),
        frame_id=message.header.frame_id,
    )


def frame_from_compressed(
    message: CompressedImage, topic: str, published_ns: int
) -> CompressedFrame:
    """Return a CompressedImage message as a frame that shares its memory.

    Args:
        message: The message.
        topic: Name of its topic.
        published_ns: When it was published, in ns since the epoch.
    """
    return CompressedFrame(
        topic=topic,
        stamp_ns=_stamp_ns(message.header) or published_ns,
        published_ns=published_ns,
        format=message.format,
        data=message.data,
        frame_id=message.header.frame_id,
    )


def to_image_message(image: NDArray[np.uint8], stamp_ns: int, frame_id: str = "") -> Image:
    """Return an image as an rgb8 Image message.

    Args:
        image: Image, uint8 (H, W, 3), RGB.
        stamp_ns: Capture time in ns since the epoch, 0 or more.
        frame_id: Coordinate frame of the camera.
    """
    height, width = image.shape[:2]
    return Image(
        header=to_header(stamp_ns, frame_id),
        height=height,
        width=width,
        encoding="rgb8",
        is_bigendian=0,
        step=3 * width,
        data=_byte_array(np.ascontiguousarray(image)),
    )


def to_compressed_message(
    image: NDArray[np.uint8], stamp_ns: int, frame_id: str = "", *, jpeg_quality: int
) -> CompressedImage:
    """Return an image as a JPEG CompressedImage message.

    Args:
        image: Image, uint8 (H, W, 3), RGB.
        stamp_ns: Capture time in ns since the epoch, 0 or more.
        frame_id: Coordinate frame of the camera.
        jpeg_quality: 1 to 100.

    Raises:
        FrameError: The image is too large for a JPEG file.
    """
    data = array.array("B", encode_jpeg(image, jpeg_quality))
    return CompressedImage(header=to_header(stamp_ns, frame_id), format="jpeg", data=data)


def to_header(stamp_ns: int, frame_id: str) -> Header:
    """Return a header.

    Args:
        stamp_ns: Time in ns since the epoch, 0 or more.
        frame_id: Coordinate frame.
    """
    seconds, nanoseconds = divmod(stamp_ns, _NS_PER_SEC)
    return Header(stamp=Time(sec=seconds, nanosec=nanoseconds), frame_id=frame_id)


def _stamp_ns(header: Header) -> int:
    return int(header.stamp.sec) * _NS_PER_SEC + int(header.stamp.nanosec)


def _byte_array(data: NDArray[np.uint8]) -> array.array[int]:
    """Return the bytes in the one type that message fields of all distributions take uncopied."""
    result = array.array("B")
    result.frombytes(data.reshape(-1).data)
    return result
