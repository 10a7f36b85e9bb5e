"""The image encodings of sensor_msgs/image_encodings.hpp, and their conversion to RGB.

Channels without a name have OpenCV's order (8UC3 is BGR, 8UC4 is BGRA), as in cv_bridge; alpha is
dropped. Three rules reduce values to 8 bits:

- Values of 16 bits (mono16, rgb16, bayer_rggb16, 16UC3, ..., and files of such values) keep the
  highest 8 of the bits in use, because cameras put 10 or 12 bits into the lower end of 16. In use
  are 8, 10, 12, 14 or 16 bits, the fewest that hold the largest value of the image (without
  alpha). The rule needs no state, so an image is the same live and from a bag. cv_bridge rounds
  v / 257 instead: within 1 of ours for 16 bits, and nearly black for 12.
- 16UC1 and 32FC1 carry measurements of no set range (depth, thermal): see `_measured_to_rgb`.
- YUV is BT.601 of limited range, as in OpenCV and cv_bridge.

Not supported: signed and 64-bit types, two channels, 32FC3 (often points instead of colours), and
nv24, whose row length is ambiguous.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.errors import FrameError

Conversion = Callable[[NDArray[Any]], NDArray[np.uint8]]

SUPPORTED_ENCODINGS = (
    "rgb8/16, bgr8/16, rgba8/16, bgra8/16, mono8/16, bayer_{rggb,bggr,gbrg,grbg}8/16, 8UC1, 8UC3, "
    "8UC4, 16UC1, 16UC3, 16UC4, 32FC1, uyvy, yuv422, yuyv, yuv422_yuy2, nv12 and nv21"
)

# Bits of the values of cameras.
_VALUE_BITS = (8, 10, 12, 14, 16)
# Values that are sampled to find an image's range.
_RANGE_VALUES = 1 << 16
_RANGE_PERCENTILES = (1.0, 99.0)


@dataclass(frozen=True)
class Encoding:
    """Memory layout of one encoding, and its conversion to RGB.

    Attributes:
        to_rgb: Turns an array (rows, W, channels) of `dtype` into (H, W, 3) uint8 RGB.
        channels: Values of one pixel in a row.
        dtype: Type of a value as `to_rgb` takes it.
        value_bytes: Bytes of one value in the message. If `dtype` is smaller, apply `high_bits`
            before `to_rgb`.
        rows_per_pixel_row: Rows of bytes in the message for each row of pixels: above 1 if a plane
            of chroma follows the plane of luma.
        size_multiple: Width and height must be multiples of these, 1 or 2.
        min_side_px: Width and height must be at least this.
        is_sensor_code: Whether image files of one channel need `to_rgb` too, because they hold a
            colour mosaic or measurements.
    """

    to_rgb: Conversion
    channels: int = 1
    dtype: str = "u1"
    value_bytes: int = 1
    rows_per_pixel_row: float = 1.0
    size_multiple: tuple[int, int] = (1, 1)
    min_side_px: int = 1
    is_sensor_code: bool = False

    @property
    def is_deep(self) -> bool:
        """Whether `high_bits` must reduce 16-bit values to 8 bits."""
        return self.dtype == "u1" and self.value_bytes == 2

    def values(
        self, data: NDArray[np.uint8], width: int, height: int, step: int, is_bigendian: bool
    ) -> NDArray[Any]:
        """Return a message's values without copying them.

        Args:
            data: The message's bytes, uint8 (N,).
            width: Pixels in a row.
            height: Rows of pixels.
            step: Bytes in a row, padding included; the last row may lack its padding.
            is_bigendian: Whether values of several bytes have their high byte first.

        Returns:
            Read-only view of the data, unsigned or as `dtype` says (rows, width, channels).

        Raises:
            FrameError: Width, height, step, encoding and data contradict each other.
        """
        if min(width, height) < self.min_side_px:
            raise FrameError(f"expected a width and a height of {self.min_side_px} or more")
        columns, lines = self.size_multiple
        if width % columns or height % lines:
            raise FrameError(
                f"expected an even width{' and an even height' if lines == 2 else ''}"
            )
        pixel_bytes = self.channels * self.value_bytes
        row_bytes = width * pixel_bytes
        rows = int(height * self.rows_per_pixel_row)
        needed = step * (rows - 1) + row_bytes
        if step < row_bytes or len(data) < needed:
            raise FrameError(f"expected a step of {row_bytes} or more and {needed} bytes")
        name = "u2" if self.is_deep else self.dtype
        values: NDArray[Any] = np.ndarray(
            (rows, width, self.channels),
            np.dtype(name).newbyteorder(">" if is_bigendian else "<"),
            data,
            0,
            (step, pixel_bytes, self.value_bytes),
        )
        values.flags.writeable = False
        return values


def high_bits(values: NDArray[Any]) -> tuple[NDArray[np.uint8], int]:
    """Return the highest 8 of an image's bits in use, and the number of bits in use.

    Args:
        values: uint16 (rows, W, channels), of any byte order; a fourth channel is alpha.

    Returns:
        uint8 (rows, W, channels), and 8, 10, 12, 14 or 16.
    """
    largest = int(values[..., :3].max(initial=0))
    bits = next(bits for bits in _VALUE_BITS if largest < 1 << bits)
    return (values >> (bits - 8)).astype(np.uint8), bits


def find_encoding(name: str) -> Encoding:
    """Return the encoding of a name.

    Raises:
        FrameError: The encoding is unknown or no image.
    """
    encoding = ENCODINGS.get(name)
    if encoding is None:
        raise FrameError(
            f"encoding {name[:64]!r} is not supported; the supported ones are "
            f"{SUPPORTED_ENCODINGS}"
        )
    return encoding


def _by_opencv(code: int) -> Conversion:
    """Return a conversion by cv2.cvtColor with the given code."""
    return lambda values: np.asarray(cv2.cvtColor(values, code), dtype=np.uint8)


def _two_planes(code: int) -> Conversion:
    """Return a conversion of rows of luma with rows of chroma below them."""
    return lambda values: np.asarray(cv2.cvtColor(values[..., 0], code), dtype=np.uint8)


def _measured_to_rgb(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Return measurements as grey, scaled to the range of most of them.

    Missing measurements (REP 118: 0 in 16UC1, NaN in 32FC1) become 0. Others become 1 to 255,
    linearly from the 1st to the 99th percentile of the image's finite measurements (on a regular
    grid of some 65,000), clipped at both ends, infinities too. If both percentiles are equal, the
    smallest and largest measurement replace them; a constant image becomes 128.

    Args:
        values: uint16 or float32 (H, W, 1), of any byte order.

    Returns:
        Image, uint8 (H, W, 3), three equal channels.
    """
    measured = values[..., 0].astype(np.float32)
    missing = measured == 0 if values.dtype.kind == "u" else np.isnan(measured)
    with np.errstate(all="ignore"):
        low, high = _usual_range(measured, missing)
        share = (np.clip(measured, low, high) - low) / (high - low) if high > low else 0.5
        grey = np.where(missing, 0, np.nan_to_num(share) * 254 + 1).astype(np.uint8)
    return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), dtype=np.uint8)


def _usual_range(
    measured: NDArray[np.float32], missing: NDArray[np.bool_]
) -> tuple[np.float32, np.float32]:
    """Return both ends of the range to show, equal for a constant image."""
    stride = max(1, math.isqrt(measured.size // _RANGE_VALUES))
    usable = np.isfinite(measured) & ~missing
    sample = measured[::stride, ::stride][usable[::stride, ::stride]]
    if sample.size == 0:  # The grid missed the few that there are.
        sample = measured[usable]
    if sample.size == 0:
        return np.float32(0), np.float32(0)
    low, high = np.percentile(sample.astype(np.float64), _RANGE_PERCENTILES)
    if not high > low:
        sample = measured[usable]
        low, high = sample.min(), sample.max()
    return np.float32(low), np.float32(high)


def _interleaved(channels: int, to_rgb: Conversion) -> tuple[Encoding, Encoding]:
    """Return the encodings of 8 and of 16 bits a channel."""
    return Encoding(to_rgb, channels), Encoding(to_rgb, channels, value_bytes=2)


def _mosaic(code: int) -> tuple[Encoding, Encoding]:
    """Return the Bayer encodings of 8 and of 16 bits; OpenCV makes smaller images black."""
    eight = Encoding(_by_opencv(code), min_side_px=3, is_sensor_code=True)
    return eight, replace(eight, value_bytes=2)


def _measured(dtype: str, value_bytes: int) -> Encoding:
    return Encoding(_measured_to_rgb, dtype=dtype, value_bytes=value_bytes, is_sensor_code=True)


def _packed_yuv(code: int) -> Encoding:
    return Encoding(_by_opencv(code), 2, size_multiple=(2, 1))


def _planar_yuv(code: int) -> Encoding:
    return Encoding(_two_planes(code), rows_per_pixel_row=1.5, size_multiple=(2, 2))


_RGB, _RGB16 = _interleaved(3, np.ascontiguousarray)
_BGR, _BGR16 = _interleaved(3, _by_opencv(cv2.COLOR_BGR2RGB))
_RGBA, _RGBA16 = _interleaved(4, _by_opencv(cv2.COLOR_RGBA2RGB))
_BGRA, _BGRA16 = _interleaved(4, _by_opencv(cv2.COLOR_BGRA2RGB))
_GREY, _GREY16 = _interleaved(1, _by_opencv(cv2.COLOR_GRAY2RGB))
# ROS names a mosaic by the first two pixels of the first two rows, OpenCV by the pixels one row
# and one column further.
_RGGB, _RGGB16 = _mosaic(cv2.COLOR_BayerBG2RGB)
_BGGR, _BGGR16 = _mosaic(cv2.COLOR_BayerRG2RGB)
_GBRG, _GBRG16 = _mosaic(cv2.COLOR_BayerGR2RGB)
_GRBG, _GRBG16 = _mosaic(cv2.COLOR_BayerGB2RGB)
_UYVY = _packed_yuv(cv2.COLOR_YUV2RGB_UYVY)
_YUYV = _packed_yuv(cv2.COLOR_YUV2RGB_YUY2)

ENCODINGS: dict[str, Encoding] = {
    "rgb8": _RGB,
    "bgr8": _BGR,
    "rgba8": _RGBA,
    "bgra8": _BGRA,
    "mono8": _GREY,
    "8UC1": _GREY,
    "8UC3": _BGR,
    "8UC4": _BGRA,
    "rgb16": _RGB16,
    "bgr16": _BGR16,
    "rgba16": _RGBA16,
    "bgra16": _BGRA16,
    "mono16": _GREY16,
    "16UC3": _BGR16,
    "16UC4": _BGRA16,
    "16UC1": _measured("u2", 2),
    "32FC1": _measured("f4", 4),
    "bayer_rggb8": _RGGB,
    "bayer_bggr8": _BGGR,
    "bayer_gbrg8": _GBRG,
    "bayer_grbg8": _GRBG,
    "bayer_rggb16": _RGGB16,
    "bayer_bggr16": _BGGR16,
    "bayer_gbrg16": _GBRG16,
    "bayer_grbg16": _GRBG16,
    "uyvy": _UYVY,
    "yuv422": _UYVY,
    "yuyv": _YUYV,
    "yuv422_yuy2": _YUYV,
    "nv12": _planar_yuv(cv2.COLOR_YUV2RGB_NV12),
    "nv21": _planar_yuv(cv2.COLOR_YUV2RGB_NV21),
}
