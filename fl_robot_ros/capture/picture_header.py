"""What the first bytes of a JPEG or PNG file say of its picture, read without decoding it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.capture.jpeg_layout import JPEG_MAGIC, JpegLayout, read_jpeg_layout
from fl_robot_ros.errors import FrameError

# About twice the pixels of an 8K camera; a file of some hundred bytes can claim any number.
MAX_PICTURE_PX = 1 << 26

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
# Channels by PNG's colour type; a palette has colours.
_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}


class PictureHeader(NamedTuple):
    """The header of a picture file.

    Attributes:
        width: Pixels in a row, 1 or more.
        height: Rows of pixels, 1 or more.
        channels: Channels of the file, 1 to 4; 3 for a palette.
        bits: Bits of a channel's value.
        end: Bytes of the file; what lies behind, as where a camera fills up its buffer, is no part
            of it.
        jpeg: More of a JPEG file; None for every other.
    """

    width: int
    height: int
    channels: int
    bits: int
    end: int
    jpeg: JpegLayout | None = None

    @property
    def is_rgb_jpeg(self) -> bool:
        """Whether the file is a JPEG of three channels."""
        return self.jpeg is not None and self.channels == 3


def read_picture_header(data: NDArray[np.uint8]) -> PictureHeader:
    """Return the header of a JPEG or PNG file that is worth decoding.

    Args:
        data: The file's bytes, uint8 (N,).

    Raises:
        FrameError: The bytes are neither a JPEG nor a PNG file, the header is broken, the file
            lacks its end, or the picture has no pixels or more than `MAX_PICTURE_PX`.
    """
    start = data[:33].tobytes()
    if start.startswith(JPEG_MAGIC):
        jpeg = read_jpeg_layout(data)
        header = PictureHeader(
            jpeg.width, jpeg.height, jpeg.channels, jpeg.bits, end=jpeg.end, jpeg=jpeg
        )
    elif start.startswith(PNG_MAGIC):
        header = _read_png(data, start)
    else:
        raise FrameError(
            "the content is neither a JPEG nor a PNG file; only those are supported, not "
            "compressedDepth and no packets of a video (theora, ffmpeg, h264)"
        )
    if not 0 < header.width * header.height <= MAX_PICTURE_PX:
        raise FrameError(
            f"the picture has {header.width}x{header.height} pixels; expected 1 to "
            f"{MAX_PICTURE_PX} in all"
        )
    return header


def _read_png(data: NDArray[np.uint8], start: bytes) -> PictureHeader:
    """Read the IHDR chunk, which is the first, and see that no chunk is longer than the file.

    Decoders make room for whatever a chunk claims (PNG specification, 5.3 and 11.2.1).
    """
    position, kind = len(PNG_MAGIC), b""
    while kind != b"IEND" and position + 8 <= len(data):
        kind = data[position + 4 : position + 8].tobytes()
        position += 12 + int.from_bytes(data[position : position + 4].tobytes(), "big")
    if kind != b"IEND" or position > len(data):
        raise FrameError("the PNG file is cut off")
    if len(start) < 33 or start[12:16] != b"IHDR" or start[25] not in _PNG_CHANNELS:
        raise FrameError("the PNG file's header is broken")
    return PictureHeader(
        width=int.from_bytes(start[16:20], "big"),
        height=int.from_bytes(start[20:24], "big"),
        channels=_PNG_CHANNELS[start[25]],
        bits=start[24],
        end=position,
    )
