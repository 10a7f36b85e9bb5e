"""How a JPEG file is laid out: its picture's size, and where its data begins and ends.

Read without decoding, from the markers alone (ITU T.81, annex B).
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
# Those whose data is Huffman codes of 8 x 8 blocks, each coded once: baseline and extended.
_BLOCK_FRAMES = frozenset({0xC0, 0xC1})
# Markers without a length: TEM, RST0 to RST7; 0 is no marker but an escaped 0xFF.
_BARE_MARKERS = frozenset({0x00, 0x01, *range(0xD0, 0xD8)})
# Markers that cannot come before the frame header: SOI, EOI, SOS.
_WRONG_MARKERS = frozenset({0xD8, 0xD9, 0xDA})
_EOI, _SOS, _DRI = 0xD9, 0xDA, 0xDD
# What may come between two scans: DHT, DAC, SOS, DQT, DNL, DRI, APP0 to APP15, COM.
_BETWEEN_SCANS = frozenset({0xC4, 0xCC, _SOS, 0xDB, 0xDC, _DRI, *range(0xE0, 0xF0), 0xFE})
# The end of a scan's data. Any other 0xFF in it is followed by 0, or is a restart marker.
_SCAN_END = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")
_NO_MCU = (0, 0), 0
_RESTARTS = re.compile(rb"\xff([\xd0-\xd7])")


class JpegLayout(NamedTuple):
    """The layout of a JPEG file.

    Attributes:
        width: Pixels in a row.
        height: Rows of pixels.
        channels: Colour components.
        bits: Bits of a component's value.
        mcu_px: Width and height of the smallest unit of the data (MCU), 8 to 32; 0 where it has
            none that come one after the other in a single scan.
        mcu_blocks: Number of blocks of such a unit, of all components; 0 where there is no unit.
        restart_interval: Units between two restart markers; 0 without such markers.
        data_ends: Positions of the markers at which data ends: restart markers, ends of scans.
        end: Position behind the end marker.
    """

    width: int
    height: int
    channels: int
    bits: int
    mcu_px: tuple[int, int]
    mcu_blocks: int
    restart_interval: int
    data_ends: tuple[int, ...]
    end: int

    @property
    def num_mcus(self) -> int:
        """Number of units; 0 where `mcu_px` is 0."""
        width, height = self.mcu_px
        return -(-self.width // width) * -(-self.height // height) if width and height else 0


def read_jpeg_layout(data: NDArray[np.uint8]) -> JpegLayout:
    """Return the layout of a JPEG file; what lies behind its end marker does not matter.

    Args:
        data: The file's bytes, uint8 (N,), with `JPEG_MAGIC` at their start.

    Raises:
        FrameError: A header is broken, the file lacks its end, or its data holds markers that do
            not belong there.
    """
    head = data[:_HEADERS_BYTES].tobytes()
    position = 2
    restart_interval = 0
    while True:
        # As libjpeg does: bytes between segments are skipped.
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
    size = head[position + 4 : position + 8]
    channels = head[position + 8]
    components = head[position + 9 : position + 9 + 3 * channels]
    mcu_px, mcu_blocks = _mcu(marker, channels, components)
    layout = JpegLayout(
        width=int.from_bytes(size[2:], "big"),
        height=int.from_bytes(size[:2], "big"),
        channels=channels,
        bits=head[position + 3],
        mcu_px=mcu_px,
        mcu_blocks=mcu_blocks,
        restart_interval=restart_interval,
        data_ends=(),
        end=0,
    )
    return _with_ends(layout, data.data, position + 1)


def _mcu(frame_header: int, channels: int, components: bytes) -> tuple[tuple[int, int], int]:
    """Return width and height of the units of the data, and the number of their blocks.

    Args:
        frame_header: The marker of the frame header.
        channels: Number of components.
        components: Number, sampling factors and table of each.
    """
    factors = [(factor >> 4, factor & 15) for factor in components[1::3]]
    is_sound = all(1 <= across <= 4 and 1 <= down <= 4 for across, down in factors)
    if frame_header not in _BLOCK_FRAMES or not is_sound or not 0 < len(factors) == channels:
        return _NO_MCU
    if channels == 1:
        # The units of a single component are blocks, whatever its factors are.
        return (8, 8), 1
    width, height = (8 * max(sides) for sides in zip(*factors, strict=True))
    return (width, height), sum(across * down for across, down in factors)


def _with_ends(layout: JpegLayout, data: memoryview, position: int) -> JpegLayout:
    """Find where the data ends, from the frame header's length on.

    Raises:
        FrameError: The file lacks its end, or its data holds markers that do not belong there.
    """
    restart_interval = layout.restart_interval
    ends: list[int] = []
    restarts = b""
    is_scan = False
    scans = 0
    position += int.from_bytes(data[position : position + 2], "big")
    while True:
        match = _SCAN_END.search(data, position)
        if match is None:
            raise FrameError("the JPEG file lacks its end")
        (marker,) = match[1]
        if is_scan:
            if restart_interval:
                found = list(_RESTARTS.finditer(data, position, match.start()))
                ends += [restart.start() for restart in found]
                restarts += b"".join(restart[1] for restart in found)
            ends.append(match.start())
        if marker == _EOI:
            break
        if marker not in _BETWEEN_SCANS:
            raise FrameError(
                f"the JPEG file is damaged: marker 0x{marker:02x} lies in its data, at byte "
                f"{match.start()} of {len(data)}"
            )
        position = match.end()
        if marker == _DRI:
            restart_interval = int.from_bytes(data[position + 2 : position + 4], "big")
        position += max(2, int.from_bytes(data[position : position + 2], "big"))
        is_scan = marker == _SOS
        scans += is_scan
    layout = layout._replace(
        mcu_px=layout.mcu_px if scans == 1 else _NO_MCU[0],
        mcu_blocks=layout.mcu_blocks if scans == 1 else _NO_MCU[1],
        restart_interval=restart_interval,
        data_ends=tuple(ends),
        end=match.end(),
    )
    if restart_interval and layout.num_mcus:
        _check_restarts(layout, restarts)
    return layout


def _check_restarts(layout: JpegLayout, restarts: bytes) -> None:
    """See that the restart markers of the only scan are all there, in their order.

    Raises:
        FrameError: They are not.
    """
    expected = -(-layout.num_mcus // layout.restart_interval) - 1
    # Some cameras put another one before the end.
    numbers = bytes(0xD0 + number % 8 for number in range(expected + 1))
    if restarts not in (numbers, numbers[:-1]):
        raise FrameError(
            f"the JPEG file is damaged: of its {expected} restart markers, {len(restarts)} are "
            f"there, or they are out of order"
        )
