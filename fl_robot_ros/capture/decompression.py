"""Unpacks compressed data without trusting what it says about its size."""

from __future__ import annotations

import os
from bz2 import BZ2Decompressor
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from io import BytesIO
from typing import NamedTuple, Protocol, TypeVar

from lz4.frame import LZ4FrameDecompressor  # type: ignore[import-untyped]

from fl_robot_ros.capture.recorded_message import DamagedError
from fl_robot_ros.capture.zstd import ZstdDecompressor, ZstdError

# No chunk or message of a bag is larger: recorders write chunks of about 1 MB by default.
MAX_UNPACKED_BYTES = 1 << 29

_STEP_BYTES = 1 << 24
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

    def decompress(self, data: bytes | memoryview, max_length: int, /) -> bytes: ...


def unpacked_bytes(packed: bytes | memoryview, compression: str, max_bytes: int) -> bytes:
    """Return what compressed data holds; where it is cut, what is there of it.

    Args:
        packed: One frame or stream; bytes behind it are ignored.
        compression: "zstd", "lz4" (frame format, as in mcap and in ROS 1) or "bz2".
        max_bytes: The most that it may hold.

    Raises:
        DamagedError: It is damaged, holds more, or the compression is not known.
    """
    decompressor = _decompressor(compression)
    content = BytesIO()
    room = max_bytes
    while True:
        try:
            # One byte more than there is room for shows that there is more.
            part = decompressor.decompress(packed, min(_STEP_BYTES, room + 1))
        except (ZstdError, RuntimeError, OSError, EOFError, ValueError) as error:
            raise DamagedError(f"{compression}: {error}") from error
        packed = b""
        room -= len(part)
        if room < 0:
            raise DamagedError(f"it unpacks to more than {max_bytes} bytes")
        is_end = decompressor.eof or decompressor.needs_input or not part
        if is_end and not content.tell():
            return part
        content.write(part)
        if is_end:
            return content.getvalue()


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
