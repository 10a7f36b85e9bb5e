"""Decodes a camera's bytes to an RGB image, or to a small grey one. Needs no ROS."""

from __future__ import annotations

import functools
import logging
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.errors import FrameError
from fl_robot_ros.images.encoding import ENCODINGS, Encoding, find_encoding, high_bits
from fl_robot_ros.images.frame import CompressedFrame, Frame, RawFrame, frame_bytes
from fl_robot_ros.images.image_header import ImageHeader, read_image_header
from fl_robot_ros.images.jpeg_thumbnail import decode_jpeg_thumbnail

Pixels = NDArray[np.uint8]

# Files with values of so many bits hold measurements.
_FLOAT_BITS = 32
# Cameras that the log names.
_MAX_TOLD = 1000

_logger = logging.getLogger(__name__)


def decode_frame(frame: Frame) -> Pixels:
    """Return the image of a frame.

    Returns:
        The image, uint8 (H, W, 3), RGB, 0 to 255. Copy it before writing to it: it may be a
        read-only view of the frame's data.

    Raises:
        FrameError: The encoding is unknown, or the data is broken or too short for the size.
    """
    if isinstance(frame, RawFrame):
        image = frame.to_rgb() if frame.to_rgb is not None else None
        return _decode_raw(frame) if image is None else image
    header = read_frame_header(frame)
    data = frame_bytes(frame.data)[: header.end]
    try:
        return _decode_file(frame, data, header)
    except cv2.error as error:  # OpenCV 4.5 converts no image of one pixel
        raise FrameError(f"{_name(frame, data)} cannot be converted: {_reason(error)}") from error


def read_frame_header(frame: CompressedFrame) -> ImageHeader:
    """Return the header of a compressed frame's file.

    Raises:
        FrameError: The format is not supported, or the file is broken or too large.
    """
    data = frame_bytes(frame.data)
    try:
        if "compressedDepth" in frame.format:
            raise FrameError(
                "compressedDepth holds depths behind a header of its own, which is not supported: "
                "use the camera's raw or compressed topic"
            )
        return read_image_header(data)
    except FrameError as error:
        raise FrameError(f"{_name(frame, data)}: {error}") from error


def decode_grey_thumbnail(frame: CompressedFrame, header: ImageHeader, min_side_px: int) -> Pixels:
    """Return a small grey version of a JPEG frame's image, for measures of its quality.

    Takes half the time of `decode_frame`, with the same errors and one more: a file with missing
    data is refused, as far as `jpeg_thumbnail` can tell.

    Args:
        frame: The frame.
        header: Its header, from `read_frame_header`.
        min_side_px: Lower limit of the longer side.

    Returns:
        The image, uint8 (h, w), 0 to 255.

    Raises:
        FrameError: The data is broken, or the file is no JPEG.
    """
    data = frame_bytes(frame.data)
    try:
        if header.jpeg is None:
            raise FrameError("a file that is no JPEG has no thumbnail")
        return decode_jpeg_thumbnail(data, header.jpeg, min_side_px)
    except FrameError as error:
        raise FrameError(f"{_name(frame, data)}: {error}") from error


def _decode_raw(frame: RawFrame) -> Pixels:
    encoding = find_encoding(frame.encoding)
    data = frame_bytes(frame.data)
    try:
        values = encoding.values(data, frame.width, frame.height, frame.step, frame.is_bigendian)
        return encoding.to_rgb(_eight_bits(values, frame) if encoding.is_deep else values)
    except FrameError as error:
        raise FrameError(f"{_raw_name(frame, data)}: {error}") from error
    except cv2.error as error:
        reason = f"cannot be converted: {_reason(error)}"
        raise FrameError(f"{_raw_name(frame, data)} {reason}") from error


def _decode_file(frame: CompressedFrame, data: Pixels, header: ImageHeader) -> Pixels:
    """Return the image of a file."""
    encoding = _sensor_code(frame, header)
    if encoding is None and header.bits == _FLOAT_BITS:
        encoding = find_encoding("32FC1")
    if encoding is not None:
        grey = _imdecode(frame, data, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH)[..., np.newaxis]
        return encoding.to_rgb(_eight_bits(grey, frame) if encoding.is_deep else grey)
    image = _imdecode(frame, data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    if image.dtype == np.uint16:
        image = _eight_bits(image, frame)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _eight_bits(values: NDArray[Any], frame: Frame) -> Pixels:
    """Reduce 16-bit values to 8 bits; log once for a camera that it uses fewer than 16.

    Args:
        values: uint16 (rows, W, channels).
        frame: Their frame.
    """
    pixels, bits = high_bits(values)
    if bits < 16:
        _tell_of_few_bits(frame.topic)
    return pixels


@functools.lru_cache(_MAX_TOLD)
def _tell_of_few_bits(topic: str) -> None:
    _logger.warning(
        "topic %s: an image does not use all 16 bits of its values; such images are taken to have "
        "8, 10, 12 or 14 bits, the least that hold their largest value",
        topic,
    )


def _sensor_code(frame: CompressedFrame, header: ImageHeader) -> Encoding | None:
    """Return the encoding of a file with sensor values; None: the file holds an ordinary image.

    image_transport compresses a colour mosaic or 16UC1 as it is; only the name of the format
    ("bayer_rggb8; jpeg compressed ", "16UC1; png compressed ") tells.
    """
    encoding = ENCODINGS.get(frame.format.partition(";")[0].strip())
    if encoding is None or not encoding.is_sensor_code:
        return None
    is_same = header.channels == 1 and header.bits == 8 * encoding.value_bytes
    return encoding if is_same and min(header.width, header.height) >= 3 else None


def _imdecode(frame: CompressedFrame, data: Pixels, flags: int) -> NDArray[Any]:
    """Return the pixels of a file in OpenCV's order.

    Raises:
        FrameError: OpenCV cannot decode it.
    """
    try:
        image = cv2.imdecode(data, flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise FrameError(f"{_name(frame, data)} cannot be decoded: {_reason(error)}") from error
    if image is None:
        raise FrameError(f"{_name(frame, data)} cannot be decoded; its data is broken")
    return image


def _raw_name(frame: RawFrame, data: Pixels) -> str:
    size = f"{frame.width}x{frame.height} pixels with step {frame.step} and {len(data)} bytes"
    return f"a {frame.encoding} image of {size}"


def _name(frame: CompressedFrame, data: Pixels) -> str:
    return f"compressed image of format {frame.format[:64]!r} and {len(data)} bytes"


def _reason(error: cv2.error) -> str:
    return " ".join(str(error).split())[:200]
