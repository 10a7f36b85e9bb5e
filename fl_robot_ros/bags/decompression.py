"""Unpacks compressed data without trusting what it says about its size."""

from __future__ import annotations

import os
from bz2 import BZ2Decompressor
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, Protocol, TypeVar

from lz4.frame import LZ4FrameDecompressor  # type: ignore[import-untyped]

from fl_robot_ros.bags.recorded_message import DamagedError
from fl_robot_ros.bags.zstd import ZstdDecompressor, ZstdError

# No chunk or message of a bag is larger: recorders write chunks of about 1 MB by default.
MAX_UNPACKED_BYTES = 1 << 29

_STEP_BYTES = 1 << 24
_BLOCK_BYTES = 1 << 20
# Of many tiny frames, each would cost a copy of its block.
_MAX_FRAMES = 1 << 12
_ERRORS = (ZstdError, RuntimeError, OSError, EOFError, ValueError)
# Compressed data that is unpacked before it is needed, with what it claims to hold.
_AHEAD_BYTES = 1 << 26

ItemT = TypeVar("ItemT")


class Packed(NamedTuple):
    """Compressed data: the arguments of `unpacked_bytes`."""

    data: bytes | memoryview
    compression: str
    max_bytes: int


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes | None: ...

    def decompress(self, data: bytes | memoryview, max_length: int, /) -> bytes: ...


def unpacked_bytes(packed: bytes | memoryview, compression: str, max_bytes: int) -> bytes:
    """Return what compressed data holds; where it is cut, what is there of it.

    Args:
        packed: Frames or streams one behind the other, as parallel compressors write them; what
            is behind them is ignored.
        compression: "zstd", "lz4" (frame format, as in mcap and in ROS 1) or "bz2".
        max_bytes: The most that it may hold.

    Raises:
        DamagedError: It is damaged, holds more, or the compression is not known.
    """
    data = memoryview(packed)
    position = 0
    content: list[bytes] = []
    room = max_bytes
    for number in range(_MAX_FRAMES):
        try:
            parts, position = _unpacked_frame(data, position, _decompressor(compression), room)
        except _ERRORS as error:
            if number:
                break
            raise DamagedError(f"{compression}: {error}") from error
        content += parts
        room -= sum(map(len, parts))
        if room < 0:
            raise DamagedError(f"it unpacks to more than {max_bytes} bytes")
        if position >= len(data):
            break
    return content[0] if len(content) == 1 else b"".join(content)


def _unpacked_frame(
    data: memoryview, position: int, decompressor: _Decompressor, room: int
) -> tuple[list[bytes], int]:
    """Return what a frame holds, as far as there is room and one byte more, and where it ends.

    Raises:
        Exception: One of `_ERRORS`; the frame is damaged, or there is none.
    """
    parts = []
    while not decompressor.eof:
        block = data[position : position + _BLOCK_BYTES] if decompressor.needs_input else b""
        position += len(block)
        # One byte more than there is room for shows that there is more.
        part = decompressor.decompress(block, min(_STEP_BYTES, room + 1))
        parts.append(part)
        room -= len(part)
        if room < 0 or not (part or block):
            break
    return [part for part in parts if part], position - len(decompressor.unused_data or b"")


def unpacked_ahead(
    items: Iterable[ItemT], packed_in: Callable[[ItemT], Packed | None]
) -> Iterator[tuple[ItemT, Future[bytes] | None]]:
    """Yield items in their order, while a thread for each core unpacks those that come next.

    Args:
        items: What may hold compressed data.
        packed_in: Returns the compressed data of an item, None where it has none.

    Yields:
        Each item, and what `unpacked_bytes` makes of its compressed data. Items are asked for
        ahead only while they have such: one without is taken before the next is asked for. At
        most 64 MiB, packed and unpacked, are in work or wait to be taken, or one item.
    """
    threads = len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(threads, thread_name_prefix="unpack") as pool:
        waiting: deque[tuple[ItemT, Future[bytes] | None]] = deque()
        sizes: deque[int] = deque()
        for item in items:
            packed = packed_in(item)
            size = len(packed.data) + packed.max_bytes if packed else 0
            while waiting and sum(sizes) + size > _AHEAD_BYTES:
                sizes.popleft()
                yield waiting.popleft()
            waiting.append((item, pool.submit(unpacked_bytes, *packed) if packed else None))
            sizes.append(size)
            while waiting and (packed is None or len(waiting) > threads):
                sizes.popleft()
                yield waiting.popleft()
        yield from waiting


def _decompressor(compression: str) -> _Decompressor:
    if compression == "zstd":
        zstd: _Decompressor = ZstdDecompressor()
        return zstd
    if compression == "lz4":
        lz4: _Decompressor = LZ4FrameDecompressor()
        return lz4
    if compression == "bz2":
        return BZ2Decompressor()
    raise DamagedError(f"its compression '{compression[:32]}' is not known")
