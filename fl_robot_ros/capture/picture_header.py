"""What the first bytes of a JPEG or PNG file say of its picture, read without decoding it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.errors import FrameError

# About twice the pixels of an 8K camera; a file of some hundred bytes can claim any number.
MAX_PICTURE_PX = 1 << 26

JPEG_MAGIC = b"\xff\xd8\xff"
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_JPEG_END = b"\xff\xd9"
# Some cameras fill the last block after the end marker; more than this is a missing end.
_JPEG_TRAILER_BYTES = 4096
# Metadata, thumbnails and colour profiles come before the frame header, 64 KiB each.
_JPEG_HEADERS_BYTES = 1 << 20
# Markers of a JPEG frame header: SOF0 to SOF15 without DHT, JPG and DAC (ITU T.81, table B.1).
_JPEG_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Markers without a length: TEM, RST0 to RST7; 0 is no marker but an escaped 0xFF.
_JPEG_BARE_MARKERS = frozenset({0x00, 0x01, *range(0xD0, 0xD8)})
# Markers that cannot come before the frame header: SOI, EOI, SOS.
_JPEG_WRONG_MARKERS = frozenset({0xD8, 0xD9, 0xDA})
# Channels by PNG's colour type; a palette has colours.
_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}


class PictureHeader(NamedTuple):
    """The header of a picture file.

    Attributes:
        is_jpeg: Whether the file is a JPEG; otherwise it is a PNG.
        width: Pixels in a row, 1 or more.
        height: Rows of pixels, 1 or more.
        channels: Channels of the file, 1 to 4; 3 for a palette.
        bits: Bits of a channel's value.
    """

    is_jpeg: bool
    width: int
    height: int
    channels: int
    bits: int

    @property
    def is_rgb_jpeg(self) -> bool:
        """Whether the file is a JPEG of three channels."""
        return self.is_jpeg and self.channels == 3


def read_picture_header(data: NDArray[np.uint8]) -> PictureHeader:
    """Return the header of a JPEG or PNG file that is worth decoding.

    Args:
        data: The file's bytes, uint8 (N,).

    Raises:
        FrameError: The bytes are neither a JPEG nor a PNG file, the header is broken, a JPEG file
            lacks its end, or the picture has no pixels or more than `MAX_PICTURE_PX`.
    """
    start = data[:33].tobytes()
    if start.startswith(JPEG_MAGIC):
        header = _read_jpeg(data)
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
        is_jpeg=False,
        width=int.from_bytes(start[16:20], "big"),
        height=int.from_bytes(start[20:24], "big"),
        channels=_PNG_CHANNELS[start[25]],
        bits=start[24],
    )


def _read_jpeg(data: NDArray[np.uint8]) -> PictureHeader:
    """Find the frame header as libjpeg does: bytes between segments are skipped."""
    head = data[:_JPEG_HEADERS_BYTES].tobytes()
    position = 2
    while True:
        position = head.find(b"\xff", position)
        while 0 <= position < len(head) and head[position] == 0xFF:
            position += 1
        if position < 0 or position + 9 > len(head) or head[position] in _JPEG_WRONG_MARKERS:
            raise FrameError("the JPEG file's header is broken or missing")
        marker = head[position]
        if marker in _JPEG_FRAME_HEADERS:
            break
        position += 1
        if marker not in _JPEG_BARE_MARKERS:
            position += max(2, int.from_bytes(head[position : position + 2], "big"))
    # Decoders fill the missing part of a cut picture with grey, without a word.
    tail = data[max(position, len(data) - _JPEG_TRAILER_BYTES) :].tobytes()
    if not tail.endswith(_JPEG_END) and _JPEG_END not in tail:
        raise FrameError("the JPEG file lacks its end")
    return PictureHeader(
        is_jpeg=True,
        width=int.from_bytes(head[position + 6 : position + 8], "big"),
        height=int.from_bytes(head[position + 4 : position + 6], "big"),
        channels=head[position + 8],
        bits=head[position + 3],
    )
