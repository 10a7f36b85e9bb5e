"""The tags of a TIFF file's first image (TIFF 6.0, sections 2 and 8)."""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.errors import FrameError

# Little-endian and big-endian; BigTIFF is another format.
TIFF_MAGICS = (b"II*\0", b"MM\0*")
_WIDTH, _HEIGHT, _BITS, _CHANNELS, _FORMAT = 256, 257, 258, 277, 339
_TILE_WIDTH, _TILE_HEIGHT = 322, 323
_DEFAULTS = {_BITS: 1, _CHANNELS: 1, _FORMAT: 1, _TILE_WIDTH: 0, _TILE_HEIGHT: 0}
# Numbers of 8, 16 and 32 bits, by the numbers of their types.
_TYPES = {1: "B", 3: "H", 4: "I"}
_ENTRY_BYTES = 12


class TiffTags(NamedTuple):
    """The tags that describe an image.

    Attributes:
        width: Pixels in a row.
        height: Rows of pixels.
        channels: Samples of a pixel.
        bits: Bits of a sample.
        sample_format: 1 for unsigned samples, 2 for signed ones, 3 for floats.
        tile_px: Pixels of a tile; 0: the image is in strips.
    """

    width: int
    height: int
    channels: int
    bits: int
    sample_format: int
    tile_px: int


def read_tiff_tags(data: NDArray[np.uint8]) -> TiffTags:
    """Return the tags of the first image.

    Args:
        data: The file's bytes, uint8 (N,), which begin with one of `TIFF_MAGICS`.

    Raises:
        FrameError: The file is cut off, or the tags are broken.
    """
    order = "<" if data[0] == ord("I") else ">"
    view = data.data
    tags = dict(_DEFAULTS)
    try:
        (place,) = struct.unpack_from(f"{order}I", view, 4)
        (count,) = struct.unpack_from(f"{order}H", view, place)
        for entry in range(place + 2, place + 2 + _ENTRY_BYTES * count, _ENTRY_BYTES):
            tag, kind, values = struct.unpack_from(f"{order}HHI", view, entry)
            if kind in _TYPES and values:
                code = f"{order}{_TYPES[kind]}"
                at = entry + 8
                if values * struct.calcsize(code) > 4:
                    (at,) = struct.unpack_from(f"{order}I", view, at)
                # Of several values, such as the bits of each channel, the first stands for all.
                (tags[tag],) = struct.unpack_from(code, view, at)
        return TiffTags(
            tags[_WIDTH],
            tags[_HEIGHT],
            tags[_CHANNELS],
            tags[_BITS],
            tags[_FORMAT],
            tags[_TILE_WIDTH] * tags[_TILE_HEIGHT],
        )
    except (struct.error, KeyError) as error:
        raise FrameError("the TIFF file is cut off, or its header is broken") from error
