"""From a camera's bytes to an RGB picture, or to a small grey one.

Runs also where ROS is not installed; where it is, `nodes.frame_decoder` has cv_bridge do what both
do alike.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.capture.encoding import ENCODINGS, Encoding, find_encoding
from fl_robot_ros.capture.frame import CompressedFrame, Frame, FrameData, RawFrame
from fl_robot_ros.capture.picture_header import PictureHeader, read_picture_header
from fl_robot_ros.errors import FrameError

Pixels = NDArray[np.uint8]

_REDUCED_GREY = (
    (8, cv2.IMREAD_REDUCED_GRAYSCALE_8),
    (4, cv2.IMREAD_REDUCED_GRAYSCALE_4),
    (2, cv2.IMREAD_REDUCED_GRAYSCALE_2),
)


def decode_frame(frame: Frame) -> Pixels:
    """Return the picture of a frame.

    Returns:
        The picture, uint8 (H, W, 3), RGB, 0 to 255. Copy it before writing to it: it may be a
        read-only view of the frame's data.

    Raises:
        FrameError: The encoding is unknown, the size does not fit the data, or the data is broken.
    """
    if isinstance(frame, RawFrame):
        return _decode_raw(frame)
    data = frame_bytes(frame.data)
    return _decode_file(frame, data, read_frame_header(frame))


def read_frame_header(frame: CompressedFrame) -> PictureHeader:
    """Return the header of a compressed frame's file.

    Raises:
        FrameError: It is neither a JPEG nor a PNG file, or none worth decoding.
    """
    data = frame_bytes(frame.data)
    try:
        if "compressedDepth" in frame.format:
            raise FrameError(
                "compressedDepth holds depths behind a header of its own; only JPEG and PNG files "
                "are supported: use the camera's raw or compressed topic"
            )
        return read_picture_header(data)
    except FrameError as error:
        raise FrameError(f"{_name(frame, data)}: {error}") from error


def decode_grey_thumbnail(
    frame: Frame, max_side_px: int = 160, header: PictureHeader | None = None
) -> Pixels:
    """Return a small grey version of a frame's picture, for measures of its quality.

    Cheaper than `decode_frame`, and with the same errors for all that headers can tell: a JPEG
    frame that has a thumbnail is a whole file. Of a JPEG only every 2nd, 4th or 8th pixel is
    decoded, the fewest that leave the longer side `max_side_px / 2`; of most raw frames only
    every n-th pixel is looked at; other pictures are decoded and averaged.

    Args:
        frame: The frame.
        max_side_px: Longest side of the result, 1 or more.
        header: What `read_frame_header` returned for the frame; None: it is read here.

    Returns:
        The picture, uint8 (h, w), 0 to 255; its longer side has `max_side_px / 2` to
        `max_side_px` pixels, or as many as the frame's where that has fewer.

    Raises:
        FrameError: The encoding is unknown, the size does not fit the data, or the data is broken.
    """
    if isinstance(frame, RawFrame):
        return _shrunk(_grey(_decode_raw(frame, max_side_px)), max_side_px)
    data = frame_bytes(frame.data)
    header = header or read_frame_header(frame)
    if not header.is_jpeg or _sensor_code(frame, header) is not None:
        return _shrunk(_grey(_decode_file(frame, data, header)), max_side_px)
    flags = cv2.IMREAD_GRAYSCALE
    for factor, reduced in _REDUCED_GREY:
        if max(header.width, header.height) / factor >= max_side_px / 2:
            flags = reduced
            break
    return _shrunk(np.asarray(_imdecode(frame, data, flags), dtype=np.uint8), max_side_px)


def frame_bytes(data: FrameData) -> Pixels:
    """Return a frame's data as a flat uint8 array without copying it."""
    return np.frombuffer(data, dtype=np.uint8)


def _decode_raw(frame: RawFrame, max_side_px: int = 0) -> Pixels:
    """Return a raw frame's picture.

    Args:
        frame: The frame.
        max_side_px: Where not 0 and the encoding allows it, only every n-th row and column is
            taken, so that no side is longer.
    """
    encoding = find_encoding(frame.encoding)
    data = frame_bytes(frame.data)
    try:
        values = encoding.values(data, frame.width, frame.height, frame.step, frame.is_bigendian)
        if max_side_px and encoding.is_pixelwise:
            values = _thinned(values, -(-max(frame.width, frame.height) // max_side_px))
        return encoding.to_rgb(values)
    except FrameError as error:
        raise FrameError(f"{_raw_name(frame, data)}: {error}") from error
    except cv2.error as error:
        reason = f"cannot be converted: {_reason(error)}"
        raise FrameError(f"{_raw_name(frame, data)} {reason}") from error


def _thinned(values: NDArray[Any], stride: int) -> NDArray[Any]:
    """Return every n-th row and column of pixels."""
    if values.dtype != np.uint8 or stride == 1:
        return values[::stride, ::stride]
    # Ten times as quick as copying with strides, and it lets other threads work meanwhile.
    height, width = values.shape[:2]
    size = (-(-width // stride), -(-height // stride))
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_NEAREST))


def _decode_file(frame: CompressedFrame, data: Pixels, header: PictureHeader) -> Pixels:
    """Return the picture of a JPEG or PNG file."""
    encoding = _sensor_code(frame, header)
    if encoding is not None:
        depth = cv2.IMREAD_ANYDEPTH if encoding.dtype == "u2" else 0
        grey = _imdecode(frame, data, cv2.IMREAD_GRAYSCALE | depth)
        return encoding.to_rgb(grey[..., np.newaxis])
    picture = _imdecode(frame, data, cv2.IMREAD_COLOR)
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _sensor_code(frame: CompressedFrame, header: PictureHeader) -> Encoding | None:
    """Return the encoding that gives a file's values their meaning, where there is one.

    image_transport compresses a colour mosaic or 16UC1 as it is, and only the name of the format
    ("bayer_rggb8; jpeg compressed ", "16UC1; png compressed ") says so.
    """
    encoding = ENCODINGS.get(frame.format.partition(";")[0].strip())
    if encoding is None or not encoding.is_sensor_code:
        return None
    is_same = header.channels == 1 and header.bits == 8 * encoding.value_bytes
    return encoding if is_same and min(header.width, header.height) >= 3 else None


def _imdecode(frame: CompressedFrame, data: Pixels, flags: int) -> NDArray[Any]:
    """Return the pixels of a file in OpenCV's order; raise a FrameError if there are none."""
    try:
        picture = cv2.imdecode(data, flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise FrameError(f"{_name(frame, data)} cannot be decoded: {_reason(error)}") from error
    if picture is None:
        raise FrameError(f"{_name(frame, data)} cannot be decoded; its data is broken")
    return picture


def _raw_name(frame: RawFrame, data: Pixels) -> str:
    size = f"{frame.width}x{frame.height} pixels with step {frame.step} and {len(data)} bytes"
    return f"a {frame.encoding} image of {size}"


def _name(frame: CompressedFrame, data: Pixels) -> str:
    return f"compressed image of format {frame.format[:64]!r} and {len(data)} bytes"


def _reason(error: cv2.error) -> str:
    return " ".join(str(error).split())[:200]


def _grey(picture: Pixels) -> Pixels:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def _shrunk(grey: Pixels, max_side_px: int) -> Pixels:
    """Return the picture with its longer side at `max_side_px` where it is longer."""
    height, width = grey.shape
    scale = max_side_px / max(height, width)
    if scale >= 1:
        return grey
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
