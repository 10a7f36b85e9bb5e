"""Unpacks compressed data and files without trusting the sizes that they claim."""

from __future__ import annotations

import os
import sys
from bz2 import BZ2Decompressor
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, Protocol, TypeVar

from lz4.frame import LZ4FrameDecompressor  # type: ignore[import-untyped]

from fl_robot_ros.bags.bag_files import is_compressed
from fl_robot_ros.bags.storage import Salvage
from fl_robot_ros.errors import DamagedError

# A part of Python since 3.14.
if sys.version_info >= (3, 14):
    from compression.zstd import ZstdDecompressor, ZstdError, get_frame_info
else:
    from backports.zstd import ZstdDecompressor, ZstdError, get_frame_info

# The largest chunk or message of a bag; recorders write chunks of about 1 MB by default.
MAX_UNPACKED_BYTES = 1 << 29

_STEP_BYTES = 1 << 24
_BLOCK_BYTES = 1 << 20
# Each frame costs a copy of its block, however small it is.
_MAX_FRAMES = 1 << 12
_ERRORS = (ZstdError, RuntimeError, OSError, EOFError, ValueError)
_ZSTD_HEAD_BYTES = 18
# Even black images pack less well: a larger file is damaged, or an attack on the disk.
_FREE_UNPACKED_BYTES, _MAX_UNPACKED_SHARE = 1 << 30, 1000
_PACKED_BLOCK_BYTES = 1 << 16
# Data unpacked ahead: packed and claimed unpacked size together.
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
    """Return the content of compressed data; of cut data, the part that is there.

    Args:
        packed: One or more frames or streams, as parallel compressors write them; other data
            after them is ignored.
        compression: "zstd", "lz4" (the frame format of mcap and ROS 1) or "bz2".
        max_bytes: Largest size of the content.

    Raises:
        DamagedError: The data is damaged, its content too large, or the compression unknown.
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
    """Return the content of a frame, up to one byte more than there is room for, and its end.

    Raises:
        Exception: One of `_ERRORS`: there is no frame, or it is damaged.
    """
    parts = []
    while not decompressor.eof:
        block = data[position : position + _BLOCK_BYTES] if decompressor.needs_input else b""
        position += len(block)
        # One byte too many shows that the content is too large.
        part = decompressor.decompress(block, min(_STEP_BYTES, room + 1))
        parts.append(part)
        room -= len(part)
        if room < 0 or not (part or block):
            break
    return [part for part in parts if part], position - len(decompressor.unused_data or b"")


def unpacked_ahead(
    items: Iterable[ItemT], packed_in: Callable[[ItemT], Packed | None]
) -> Iterator[tuple[ItemT, Future[bytes] | None]]:
    """Yield items in their order, while one thread for each core unpacks the next ones.

    Args:
        items: Items with or without compressed data.
        packed_in: Returns the compressed data of an item, None if it has none.

    Yields:
        Each item, and what `unpacked_bytes` makes of its compressed data. Look-ahead stops at an
        item without compressed data: it is yielded before the next one is pulled. At most 64 MiB,
        packed and unpacked, or one item, are in work or wait.
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


def zstd_size(packed: bytes | memoryview) -> int | None:
    """Return the unpacked size that a zstd frame claims in bytes; None: it claims none."""
    try:
        return get_frame_info(packed[:_ZSTD_HEAD_BYTES]).decompressed_size
    except ZstdError:
        return None


class Unpacker:
    """Unpacks compressed storage files into a temporary folder, one at a time."""

    def __init__(self) -> None:
        self._unpacked: tuple[Path, Path] | None = None
        self._stack = ExitStack()

    def place(self, path: Path, salvage: Salvage) -> Path:
        """Return the unpacked storage file, which exists until the next call.

        Args:
            path: The file, compressed or not.
            salvage: Collects the losses.

        Raises:
            OSError: The file cannot be read, or there is no room to unpack it.
        """
        if not is_compressed(path):
            return path
        if self._unpacked is None or self._unpacked[0] != path:
            self.close()
            folder = self._stack.enter_context(TemporaryDirectory(prefix="fl_robot_ros_bag_"))
            target = Path(folder, path.stem)
            try:
                _unpack(path, target, salvage)
            except OSError:
                self.close()
                raise
            self._unpacked = path, target
        return self._unpacked[1]

    def close(self) -> None:
        """Remove the unpacked file."""
        self._unpacked = None
        self._stack.close()


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


def _unpack(path: Path, target: Path, salvage: Salvage) -> None:
    room = _FREE_UNPACKED_BYTES + _MAX_UNPACKED_SHARE * path.stat().st_size
    decompressor = ZstdDecompressor()
    with path.open("rb") as packed, target.open("wb") as file:
        while room > 0:
            block = b""
            if decompressor.eof:
                block = decompressor.unused_data or packed.read(_PACKED_BLOCK_BYTES)
                if not block:
                    return
                decompressor = ZstdDecompressor()
            elif decompressor.needs_input:
                block = packed.read(_PACKED_BLOCK_BYTES)
                if not block:
                    salvage.note("its compressed data is cut off")
                    return
            try:
                content = decompressor.decompress(block, _BLOCK_BYTES)
            except ZstdError as error:
                salvage.note(f"its compressed data is damaged: {error}")
                return
            file.write(content)
            room -= len(content)
    salvage.note("its compressed data unpacks to more than 1000 times its size")
