"""Small grey versions of JPEG images, which also reveal missing data.

Decoders make an image of any data. If the data ends too early, because bytes were lost or wrong
bytes put the codes after them out of step, the rest stays grey, and OpenCV passes on no warning.
A part that the camera saw as grey has data: the same few bits again and again.

The test finds most damage, including all loss of a visible part of the image. A single wrong bit
rarely puts the codes out of step; libjpeg does not notice it either.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.errors import FrameError
from fl_robot_ros.images.jpeg_layout import JpegLayout, Mcu

Pixels = NDArray[np.uint8]

_REDUCED_GREY = (
    (8, cv2.IMREAD_REDUCED_GRAYSCALE_8),
    (4, cv2.IMREAD_REDUCED_GRAYSCALE_4),
    (2, cv2.IMREAD_REDUCED_GRAYSCALE_2),
)
# The value of a unit without data.
_GREY = 128
# A block of one colour has two codes of at least one bit; a unit of such blocks has fewer bits.
_BITS_OF_BLOCK = 2
_MAX_BITS_OF_UNIT = 256
# So many bits repeat by chance once in a thousand times, over all periods that are tried.
_REPEATED_BITS = 24


def decode_jpeg_thumbnail(data: Pixels, layout: JpegLayout, min_side_px: int) -> Pixels:
    """Return a small grey version of a JPEG file's image.

    Blocks of 8, 4 or 2 pixels a side become one pixel if the image is large enough.

    Args:
        data: The file's bytes, uint8 (N,).
        layout: Its layout.
        min_side_px: Lower limit of the longer side.

    Returns:
        The image, uint8 (h, w), 0 to 255.

    Raises:
        FrameError: The file cannot be decoded, or its data is damaged.
    """
    factor, flags = 1, cv2.IMREAD_GRAYSCALE
    for reduced_factor, reduced in _REDUCED_GREY:
        if max(layout.width, layout.height) / reduced_factor >= min_side_px:
            factor, flags = reduced_factor, reduced
            break
    image = _decoded(data[: layout.end], flags)
    # The decoder restarts at each restart marker.
    mcu = layout.mcu if layout.restart_interval or image[-1, -1] == _GREY else None
    if mcu is not None:
        for number in _grey_ends(image, layout, mcu, factor):
            if not _repeats_itself(data[: layout.data_ends[number]], mcu.blocks):
                raise FrameError("the JPEG file is damaged: a part of its image has no data")
    return image


def _grey_ends(image: Pixels, layout: JpegLayout, mcu: Mcu, factor: int) -> NDArray[np.intp]:
    """Return the numbers of the stretches of data that end in grey units.

    Args:
        image: The thumbnail, uint8 (h, w).
        layout: The file's layout.
        mcu: Its units.
        factor: Pixels of a side that became one.
    """
    num_units = layout.num_units(mcu)
    interval = layout.restart_interval or num_units
    has_data = image != _GREY
    for axis, side in ((0, mcu.height), (1, mcu.width)):
        borders = np.arange(0, has_data.shape[axis], side // factor)
        has_data = np.logical_or.reduceat(has_data, borders, axis=axis)
    if has_data.size != num_units:
        return np.zeros(0, np.intp)
    tested = _tested_units(mcu.blocks)
    starts = np.arange(0, num_units, interval)
    ends = np.minimum(starts + interval, num_units)
    before = np.concatenate([[0], np.cumsum(has_data)])
    is_long = ends - starts >= tested
    return np.flatnonzero(is_long & (before[ends] == before[ends - tested * is_long]))


def _tested_units(blocks: int) -> int:
    """Return the number of tested units in a row; the first one may differ from the others."""
    return 2 + -(-_REPEATED_BITS // (_BITS_OF_BLOCK * blocks))


def _repeats_itself(data: Pixels, blocks: int) -> bool:
    """Say whether the last units of some data have the same codes.

    Args:
        data: Data whose last byte may end in filler bits.
        blocks: Number of blocks of a unit.
    """
    repeats = _tested_units(blocks) - 1
    # A 0 follows each byte 0xFF, which would otherwise be a marker.
    end = data[-repeats * _MAX_BITS_OF_UNIT // 4 :].tobytes().replace(b"\xff\0", b"\xff")
    bits = "".join(f"{byte:08b}" for byte in end)
    return any(
        codes[-repeats * period :] == repeats * codes[-period:]
        for codes in (bits[: len(bits) - filled] for filled in range(8))
        for period in range(_BITS_OF_BLOCK * blocks, _MAX_BITS_OF_UNIT)
    )


def _decoded(data: Pixels, flags: int) -> Pixels:
    try:
        image = cv2.imdecode(data, flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        reason = " ".join(str(error).split())[:200]
        raise FrameError(f"the JPEG file cannot be decoded: {reason}") from error
    if image is None:
        raise FrameError("the JPEG file cannot be decoded; its data is broken")
    return np.asarray(image, dtype=np.uint8)
