"""From a camera's bytes to an RGB picture.

The encodings are those of sensor_msgs/image_encodings.hpp; each is one entry of `_ENCODINGS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.capture.frame import CompressedFrame, Frame, FrameData, RawFrame
from fl_robot_ros.errors import FrameError

Pixels = NDArray[np.uint8]
Conversion = Callable[[NDArray[Any]], Pixels]

JPEG_MAGIC = b"\xff\xd8\xff"
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_JPEG_END = b"\xff\xd9"
# Some cameras fill the last block after the end marker; more than this is a missing end.
_JPEG_TRAILER_BYTES = 4096
# Markers of a JPEG frame header: SOF0 to SOF15 without DHT, JPG and DAC (ITU T.81, table B.1).
_JPEG_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


@dataclass(frozen=True)
class _Encoding:
    """How pixels of one encoding lie in memory and become RGB.

    Attributes:
        dtype: Type of one channel's value.
        channels: Values of one pixel.
        to_rgb: Turns an array (H, W, channels) of `dtype` into (H, W, 3) uint8 RGB.
    """

    dtype: type[np.generic]
    channels: int
    to_rgb: Conversion


def _by_opencv(code: int) -> Conversion:
    """Return a conversion by cv2.cvtColor with the given code."""
    return lambda pixels: np.asarray(cv2.cvtColor(pixels, code), dtype=np.uint8)


_GREY = _Encoding(np.uint8, 1, _by_opencv(cv2.COLOR_GRAY2RGB))
_BGR = _Encoding(np.uint8, 3, _by_opencv(cv2.COLOR_BGR2RGB))
_ENCODINGS: dict[str, _Encoding] = {
    "rgb8": _Encoding(np.uint8, 3, lambda pixels: np.array(pixels, dtype=np.uint8)),
    "bgr8": _BGR,
    "rgba8": _Encoding(np.uint8, 4, _by_opencv(cv2.COLOR_RGBA2RGB)),
    "bgra8": _Encoding(np.uint8, 4, _by_opencv(cv2.COLOR_BGRA2RGB)),
    "mono8": _GREY,
    "8UC1": _GREY,
    # OpenCV's own order, as cv_bridge takes it.
    "8UC3": _BGR,
}


def decode_frame(frame: Frame) -> Pixels:
    """Return the picture of a frame.

    Returns:
        The picture, uint8 (H, W, 3), RGB, 0 to 255, in memory of its own.

    Raises:
        FrameError: The encoding is unknown, the size does not fit the data, or the data is broken.
    """
    if isinstance(frame, RawFrame):
        return _decode_raw(frame)
    return _decode_compressed(frame)


def frame_bytes(data: FrameData) -> Pixels:
    """Return a frame's data as a flat uint8 array without copying it."""
    return np.frombuffer(data, dtype=np.uint8)


def is_rgb_jpeg(data: Pixels) -> bool:
    """Say whether the bytes are a JPEG file of three channels, judged by its headers alone.

    Args:
        data: The file's bytes, uint8 (N,).
    """
    header = data[: 1 << 16].tobytes()
    position = 2
    if not header.startswith(JPEG_MAGIC):
        return False
    while position + 10 <= len(header) and header[position] == 0xFF:
        marker = header[position + 1]
        if marker == 0xFF:  # A fill byte before the marker.
            position += 1
            continue
        if marker in _JPEG_FRAME_HEADERS:
            return header[position + 9] == 3
        position += 2 + int.from_bytes(header[position + 2 : position + 4], "big")
    return False


def _decode_raw(frame: RawFrame) -> Pixels:
    size = f"{frame.width}x{frame.height}"
    encoding = _ENCODINGS.get(frame.encoding)
    if encoding is None:
        raise FrameError(
            f"encoding '{frame.encoding[:64]}' is not supported; the supported ones are "
            f"{', '.join(_ENCODINGS)}"
        )
    if frame.width < 1 or frame.height < 1:
        raise FrameError(f"a {frame.encoding} image of {size} pixels has no picture")
    row_bytes = frame.width * encoding.channels * np.dtype(encoding.dtype).itemsize
    data = frame_bytes(frame.data)
    # The last row may come without its padding.
    needed = frame.step * (frame.height - 1) + row_bytes
    if frame.step < row_bytes or len(data) < needed:
        raise FrameError(
            f"a {frame.encoding} image of {size} pixels with step {frame.step} has {len(data)} "
            f"bytes; expected a step of {row_bytes} or more and {needed} bytes"
        )
    rows = np.lib.stride_tricks.as_strided(
        data, (frame.height, row_bytes), (frame.step, 1), writeable=False
    )
    dtype = np.dtype(encoding.dtype).newbyteorder(">" if frame.is_bigendian else "<")
    values = np.ascontiguousarray(rows).view(dtype).astype(encoding.dtype, copy=False)
    return encoding.to_rgb(values.reshape(frame.height, frame.width, encoding.channels))


def _decode_compressed(frame: CompressedFrame) -> Pixels:
    data = frame_bytes(frame.data)
    name = f"compressed image of format '{frame.format[:64]}' and {len(data)} bytes"
    magic = data[:8].tobytes()
    if magic.startswith(JPEG_MAGIC):
        # Decoders fill the missing part of a cut picture with grey, without a word.
        if data[-_JPEG_TRAILER_BYTES:].tobytes().rfind(_JPEG_END) < 0:
            raise FrameError(f"{name} is a JPEG file without its end")
    elif magic != PNG_MAGIC:
        raise FrameError(f"{name} is neither a JPEG nor a PNG file; those are supported")
    try:
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise FrameError(f"{name} cannot be decoded: {str(error).strip()[:200]}") from error
    if picture is None or picture.dtype != np.uint8 or picture.ndim != 3:
        raise FrameError(f"{name} cannot be decoded; its data is broken")
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), dtype=np.uint8)
