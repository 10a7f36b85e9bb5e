"""Small grey versions of JPEG images, which also show whether their data is whole.

Decoders make an image of any data. Where it ends too early, because bytes were lost or became
other ones that the codes behind them are no longer read in step, they leave the rest grey,
without a word that OpenCV would pass on. What is grey because the camera saw it so has data: the
same few bits again and again.

The test sees most damage, and all by which a visible part of the image is lost. A single wrong
bit rarely shifts what follows; libjpeg itself does not see it then.
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
# What a unit without data becomes.
_GREY = 128
# A block of one colour has two codes of a bit at least; no unit of such blocks has so many bits.
_BITS_OF_BLOCK = 2
_MAX_BITS_OF_UNIT = 256
# So many bits that repeat others do so by chance once in a thousand times, whatever is tried.
_REPEATED_BITS = 24


def decode_jpeg_thumbnail(data: Pixels, layout: JpegLayout, min_side_px: int) -> Pixels:
    """Return a small grey version of a JPEG file's image.

    Where the image is large, eight, four or two pixels a side become one.

    Args:
        data: The file's bytes, uint8 (N,).
        layout: Its layout.
        min_side_px: The longer side is not made shorter than this.

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
    # Behind each restart marker the decoder begins anew.
    mcu = layout.mcu if layout.restart_interval or image[-1, -1] == _GREY else None
    if mcu is not None:
        for number in _grey_ends(image, layout, mcu, factor):
            if not _repeats_itself(data[: layout.data_ends[number]], mcu.blocks):
                raise FrameError("the JPEG file is damaged: a part of its image has no data")
    return image


def _grey_ends(image: Pixels, layout: JpegLayout, mcu: Mcu, factor: int) -> NDArray[np.intp]:
    """Return the numbers of the stretches of data whose last units are all grey.

    Args:
        image: The thumbnail, uint8 (h, w).
        layout: The file's layout.
        mcu: Its units.
        factor: Pixels a side that became one.
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
    """Return how many units in a row are tested; the first one may differ from the others."""
    return 2 + -(-_REPEATED_BITS // (_BITS_OF_BLOCK * blocks))


def _repeats_itself(data: Pixels, blocks: int) -> bool:
    """Say whether the last units of some data have the same codes.

    Args:
        data: Data that ends where its last byte is filled up.
        blocks: Number of blocks of a unit.
    """
    repeats = _tested_units(blocks) - 1
    # Behind each byte 0xFF is a 0, lest it be taken for a marker.
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
