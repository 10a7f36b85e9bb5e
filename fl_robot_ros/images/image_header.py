"""The header of an image file, read without decoding the image."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.errors import FrameError
from fl_robot_ros.images.jpeg_layout import JPEG_MAGIC, JpegLayout, read_jpeg_layout
from fl_robot_ros.images.tiff_header import TIFF_MAGICS, read_tiff_tags

# About twice an 8K camera; a file of a few hundred bytes can claim any size.
MAX_IMAGE_PX = 1 << 26

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
# Channels by PNG's colour type; a palette has colours.
_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
# Supported TIFF values: unsigned ones of 1 to 16 bits, and floats of 32.
_TIFF_UNSIGNED, _TIFF_FLOAT = 1, 3


class ImageHeader(NamedTuple):
    """The header of an image file.

    Attributes:
        width: Pixels in a row, 1 or more.
        height: Rows of pixels, 1 or more.
        channels: Channels of the file, 1 to 4; 3 for a palette.
        bits: Bits of a channel's value; 32 for floats.
        end: End of the file in bytes; cameras may pad their buffer behind it.
        jpeg: Layout of a JPEG file, None for other formats.
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


def read_image_header(data: NDArray[np.uint8]) -> ImageHeader:
    """Return the header of a decodable JPEG, PNG, WebP or TIFF file.

    Args:
        data: The file's bytes, uint8 (N,).

    Raises:
        FrameError: The format is another one, the header is broken, the file lacks its end, or
            the image has no pixels or more than `MAX_IMAGE_PX`.
    """
    start = data[:33].tobytes()
    if start.startswith(JPEG_MAGIC):
        jpeg = read_jpeg_layout(data)
        header = ImageHeader(
            jpeg.width, jpeg.height, jpeg.channels, jpeg.bits, end=jpeg.end, jpeg=jpeg
        )
    elif start.startswith(PNG_MAGIC):
        header = _read_png(data, start)
    elif start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        header = _read_webp(data, start)
    elif start.startswith(TIFF_MAGICS):
        header = _read_tiff(data)
    else:
        raise FrameError(
            "the content is no JPEG, PNG, WebP or TIFF file; only those are supported, not "
            "compressedDepth and no packets of a video (theora, ffmpeg, h264)"
        )
    if not 0 < header.width * header.height <= MAX_IMAGE_PX:
        raise FrameError(
            f"the image has {header.width}x{header.height} pixels; expected 1 to "
            f"{MAX_IMAGE_PX} in all"
        )
    return header


def _read_png(data: NDArray[np.uint8], start: bytes) -> ImageHeader:
    """Read the first chunk, IHDR, and check that no chunk is longer than the file.

    Decoders allocate what a chunk claims (PNG specification, 5.3 and 11.2.1).
    """
    position, kind = len(PNG_MAGIC), b""
    while kind != b"IEND" and position + 8 <= len(data):
        kind = data[position + 4 : position + 8].tobytes()
        position += 12 + int.from_bytes(data[position : position + 4].tobytes(), "big")
    if kind != b"IEND" or position > len(data):
        raise FrameError("the PNG file is cut off")
    if len(start) < 33 or start[12:16] != b"IHDR" or start[25] not in _PNG_CHANNELS:
        raise FrameError("the PNG file's header is broken")
    return ImageHeader(
        width=int.from_bytes(start[16:20], "big"),
        height=int.from_bytes(start[20:24], "big"),
        channels=_PNG_CHANNELS[start[25]],
        bits=start[24],
        end=position,
    )


def _read_webp(data: NDArray[np.uint8], start: bytes) -> ImageHeader:
    """Read the first chunk, which has the size (WebP container specification, RFC 9649)."""
    end = 8 + int.from_bytes(start[4:8], "little")
    if end > len(data) or len(start) < 30:
        raise FrameError("the WebP file is cut off")
    kind = start[12:16]
    if kind == b"VP8 " and start[23:26] == b"\x9d\x01\x2a":
        width, height = (int.from_bytes(start[at : at + 2], "little") & 0x3FFF for at in (26, 28))
    elif kind == b"VP8L" and start[20] == 0x2F:
        sides = int.from_bytes(start[21:25], "little")
        width, height = 1 + (sides & 0x3FFF), 1 + (sides >> 14 & 0x3FFF)
    elif kind == b"VP8X":
        width, height = (1 + int.from_bytes(start[at : at + 3], "little") for at in (24, 27))
    else:
        raise FrameError("the WebP file's header is broken")
    return ImageHeader(width, height, channels=3, bits=8, end=end)


def _read_tiff(data: NDArray[np.uint8]) -> ImageHeader:
    tags = read_tiff_tags(data)
    if tags.tile_px > MAX_IMAGE_PX:
        raise FrameError(f"the TIFF file has tiles of {tags.tile_px} pixels")
    is_float = (tags.sample_format, tags.bits, tags.channels) == (_TIFF_FLOAT, 32, 1)
    is_unsigned = tags.sample_format == _TIFF_UNSIGNED and 1 <= tags.bits <= 16
    if not (is_float or (is_unsigned and 1 <= tags.channels <= 4)):
        raise FrameError(
            f"the TIFF file has {tags.channels} channels of {tags.bits} bits and sample format "
            f"{tags.sample_format}; expected 1 to 4 of at most 16 bits and format "
            f"{_TIFF_UNSIGNED}, or 1 of 32 bits and format {_TIFF_FLOAT}"
        )
    # TIFF does not tell the end of the file.
    return ImageHeader(tags.width, tags.height, tags.channels, tags.bits, end=len(data))
