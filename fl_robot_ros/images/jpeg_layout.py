"""The layout of a JPEG file: the image's size, and the place of its data.

Read from the markers alone, without decoding (ITU T.81, annex B).
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.errors import FrameError

JPEG_MAGIC = b"\xff\xd8\xff"
# Metadata, thumbnails and colour profiles come before the frame header, 64 KiB each.
_HEADERS_BYTES = 1 << 20
# Markers of a frame header: SOF0 to SOF15 without DHT, JPG and DAC (table B.1).
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Frame headers of Huffman codes with each 8 x 8 block coded once: baseline and extended.
_BLOCK_FRAMES = frozenset({0xC0, 0xC1})
# Markers without a length: TEM, RST0 to RST7; 0 is an escaped 0xFF.
_BARE_MARKERS = frozenset({0x00, 0x01, *range(0xD0, 0xD8)})
# Markers that cannot come before the frame header: SOI, EOI, SOS.
_WRONG_MARKERS = frozenset({0xD8, 0xD9, 0xDA})
_EOI, _SOS, _DRI = 0xD9, 0xDA, 0xDD
# Markers allowed between scans: DHT, DAC, SOS, DQT, DNL, DRI, APP0 to APP15, COM.
_BETWEEN_SCANS = frozenset({0xC4, 0xCC, _SOS, 0xDB, 0xDC, _DRI, *range(0xE0, 0xF0), 0xFE})
# The end of a scan's data; inside, 0xFF is followed by 0 or begins a restart marker.
_SCAN_END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_RESTARTS = re.compile(rb"\xff([\xd0-\xd7])")


class Mcu(NamedTuple):
    """The minimum coded unit (MCU) of the data.

    Attributes:
        width: Pixels in a row, 8 to 32.
        height: Rows of pixels, 8 to 32.
        blocks: Blocks of 8 x 8 values, of all components.
    """

    width: int
    height: int
    blocks: int


class JpegLayout(NamedTuple):
    """The layout of a JPEG file.

    Attributes:
        width: Pixels in a row.
        height: Rows of pixels.
        channels: Colour components.
        bits: Bits of a component's value.
        frame_header: Marker of the frame header, which tells the coding.
        components: Number, sampling factors and table of each component.
        restart_interval: Units between two restart markers; 0 without such markers.
        scans: Number of scans.
        data_ends: Positions of the markers that end data: restart markers and ends of scans.
        end: Position behind the end marker.
    """

    width: int
    height: int
    channels: int
    bits: int
    frame_header: int
    components: bytes
    restart_interval: int
    scans: int
    data_ends: tuple[int, ...]
    end: int

    @property
    def mcu(self) -> Mcu | None:
        """The unit of the data; None: the units are not coded one after the other."""
        factors = [(factor >> 4, factor & 15) for factor in self.components[1::3]]
        is_sound = all(1 <= across <= 4 and 1 <= down <= 4 for across, down in factors)
        is_whole = 0 < len(factors) == self.channels
        if self.frame_header not in _BLOCK_FRAMES or self.scans != 1 or not is_sound & is_whole:
            return None
        if self.channels == 1:
            # The units of a single component are blocks, whatever its factors are.
            return Mcu(8, 8, 1)
        width, height = (8 * max(sides) for sides in zip(*factors, strict=True))
        return Mcu(width, height, sum(across * down for across, down in factors))

    def num_units(self, mcu: Mcu) -> int:
        """Return the number of units of the data."""
        return -(-self.width // mcu.width) * -(-self.height // mcu.height)


def read_jpeg_layout(data: NDArray[np.uint8]) -> JpegLayout:
    """Return the layout of a JPEG file; bytes after its end marker are ignored.

    Args:
        data: The file's bytes, uint8 (N,), with `JPEG_MAGIC` at their start.

    Raises:
        FrameError: A header is broken, the file lacks its end, or its data has wrong markers.
    """
    head = data[:_HEADERS_BYTES].tobytes()
    position = 2
    restart_interval = 0
    while True:
        # Like libjpeg, skip bytes between segments.
        position = head.find(b"\xff", position)
        while 0 <= position < len(head) and head[position] == 0xFF:
            position += 1
        if position < 0 or position + 9 > len(head) or head[position] in _WRONG_MARKERS:
            raise FrameError("the JPEG file's header is broken or missing")
        marker = head[position]
        if marker in _FRAME_HEADERS:
            break
        position += 1
        if marker == _DRI:
            restart_interval = int.from_bytes(head[position + 2 : position + 4], "big")
        if marker not in _BARE_MARKERS:
            position += max(2, int.from_bytes(head[position : position + 2], "big"))
    length = int.from_bytes(head[position + 1 : position + 3], "big")
    # Searching bytes is faster than searching views.
    whole = head if len(head) == len(data) else data.data
    ends = _find_ends(whole, position + 1 + length, restart_interval)
    channels = head[position + 8]
    layout = JpegLayout(
        int.from_bytes(head[position + 6 : position + 8], "big"),
        int.from_bytes(head[position + 4 : position + 6], "big"),
        channels,
        head[position + 3],
        marker,
        head[position + 9 : position + 9 + 3 * channels],
        ends.restart_interval,
        ends.scans,
        tuple(ends.data_ends),
        ends.end,
    )
    if ends.restart_interval:
        _check_restarts(layout, ends.restarts)
    return layout


class _Ends(NamedTuple):
    """The ends of the data: fields of `JpegLayout`, and the numbers of the restart markers."""

    restart_interval: int
    scans: int
    data_ends: list[int]
    end: int
    restarts: bytes


def _find_ends(data: bytes | memoryview, position: int, restart_interval: int) -> _Ends:
    """Find the ends of the data, from the end of the frame header on.

    Raises:
        FrameError: The file lacks its end, or its data has wrong markers.
    """
    data_ends: list[int] = []
    restarts = b""
    is_scan = False
    scans = 0
    while True:
        match = _SCAN_END.search(data, position)
        if match is None:
            raise FrameError("the JPEG file lacks its end")
        start, end = match.span()
        marker = data[end - 1]
        if is_scan:
            if restart_interval:
                found = list(_RESTARTS.finditer(data, position, start))
                data_ends += [restart.start() for restart in found]
                restarts += b"".join(restart[1] for restart in found)
            data_ends.append(start)
        if marker == _EOI:
            return _Ends(restart_interval, scans, data_ends, end, restarts)
        if marker not in _BETWEEN_SCANS:
            raise FrameError(
                f"the JPEG file is damaged: marker 0x{marker:02x} lies in its data, at byte "
                f"{start} of {len(data)}"
            )
        if marker == _DRI:
            restart_interval = int.from_bytes(data[end + 2 : end + 4], "big")
        position = end + max(2, int.from_bytes(data[end : end + 2], "big"))
        is_scan = marker == _SOS
        scans += is_scan


def _check_restarts(layout: JpegLayout, restarts: bytes) -> None:
    """Check that the restart markers of a single scan are complete and in order.

    Raises:
        FrameError: They are not.
    """
    mcu = layout.mcu
    if mcu is None:
        return
    expected = -(-layout.num_units(mcu) // layout.restart_interval) - 1
    # Some cameras add another one before the end.
    numbers = bytes(0xD0 + number % 8 for number in range(expected + 1))
    if restarts not in (numbers, numbers[:-1]):
        raise FrameError(
            f"the JPEG file is damaged: of its {expected} restart markers, {len(restarts)} are "
            f"there, or they are out of order"
        )
