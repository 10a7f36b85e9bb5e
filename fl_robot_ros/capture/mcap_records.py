"""Reads mcap files from front to back, which needs neither footer nor index.

A recorder that is killed leaves neither. What is cut off or does not match its checksum is left
out and reported. Format: https://mcap.dev/spec.
"""

from __future__ import annotations

import struct
import sys
from binascii import crc32
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from lz4.frame import LZ4FrameDecompressor  # type: ignore[import-untyped]

from fl_robot_ros.capture.recorded_message import RecordedMessage, Salvage, Wanted

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdDecompressor, ZstdError
else:
    from backports.zstd import ZstdDecompressor, ZstdError

MCAP_MAGIC = b"\x89MCAP0\r\n"

_FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _DATA_END = 0x02, 0x03, 0x04, 0x05, 0x06, 0x0F
_RECORD_HEAD = struct.Struct("<BQ")
_MESSAGE_HEAD = struct.Struct("<HIQQ")
_CHUNK_HEAD = struct.Struct("<QQQI")
# Larger chunks than this are taken for a damaged length.
_MAX_CHUNK_BYTES = 1 << 31


class _DamagedError(Exception):
    """A record does not hold what its kind says."""


def read_mcap_records(path: Path, wanted: Wanted, salvage: Salvage) -> Iterator[RecordedMessage]:
    """Yield the wanted messages in the order of the file, as far as it is readable.

    Args:
        path: The file.
        wanted: Chooses messages by topic and type.
        salvage: Is told what was lost.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        if file.read(len(MCAP_MAGIC)) != MCAP_MAGIC:
            salvage.note("it does not begin like an mcap file")
            return
        scan = _Scan(wanted, salvage)
        for kind, content, is_whole in _records(file, path.stat().st_size):
            if kind in (_DATA_END, _FOOTER):
                if not is_whole:
                    break
                return
            if kind == _CHUNK:
                yield from scan.chunk(content, is_whole)
            elif is_whole:
                yield from scan.record(kind, content)
            if not is_whole:
                break
        salvage.note(f"it ends in mid-recording, after {path.stat().st_size} bytes")


def _records(file: BinaryIO, size: int) -> Iterator[tuple[int, memoryview, bool]]:
    """Yield kind, content and completeness of the records of a file; the last may be cut."""
    while True:
        head = file.read(_RECORD_HEAD.size)
        if len(head) < _RECORD_HEAD.size:
            return
        kind, length = _RECORD_HEAD.unpack(head)
        if kind == 0:
            # No kind of record: a power cut can leave the end of a file filled with zeros.
            return
        rest = size - file.tell()
        if kind == _CHUNK or kind in (_SCHEMA, _CHANNEL, _MESSAGE):
            content = file.read(min(length, rest))
        else:
            content = b""
            file.seek(min(length, rest), 1)
        yield kind, memoryview(content), length <= rest


class _Scan:
    """Knows the schemas and channels seen so far."""

    def __init__(self, wanted: Wanted, salvage: Salvage) -> None:
        self._wanted = wanted
        self._salvage = salvage
        self._schemas: dict[int, str] = {}
        self._channels: dict[int, tuple[str, str]] = {}

    def record(self, kind: int, content: memoryview) -> Iterator[RecordedMessage]:
        """Take one record that is no chunk."""
        try:
            if kind == _MESSAGE:
                yield from self._message(content)
            elif kind == _SCHEMA:
                self._schemas[_uint(content, 0, 2)] = _text(content, 2)[0]
            elif kind == _CHANNEL:
                self._channel(content)
        except (_DamagedError, struct.error, UnicodeDecodeError) as error:
            self._salvage.note(f"a record of kind {kind} is damaged: {error}")

    def chunk(self, content: memoryview, is_whole: bool) -> Iterator[RecordedMessage]:
        """Take the records of a chunk; of one that is cut, those that are there."""
        try:
            records = self._unpacked(content, is_whole)
        except (_DamagedError, struct.error, UnicodeDecodeError) as error:
            self._salvage.note(f"a chunk is damaged: {error}")
            return
        position = 0
        while position + _RECORD_HEAD.size <= len(records):
            kind, length = _RECORD_HEAD.unpack_from(records, position)
            position += _RECORD_HEAD.size
            if length > len(records) - position:
                break
            yield from self.record(kind, records[position : position + length])
            position += length
        if is_whole and position != len(records):
            self._salvage.note("a chunk ends in mid-record")

    def _unpacked(self, content: memoryview, is_whole: bool) -> memoryview:
        _, _, size, checksum = _CHUNK_HEAD.unpack_from(content)
        compression, position = _text(content, _CHUNK_HEAD.size)
        packed = content[position + 8 : position + 8 + _uint(content, position, 8)]
        if size > _MAX_CHUNK_BYTES:
            raise _DamagedError(f"it claims to hold {size} bytes")
        records = _decompressed(packed, compression, size)
        if is_whole and len(records) != size:
            raise _DamagedError(f"{len(records)} of {size} bytes could be unpacked")
        if is_whole and checksum and crc32(records) != checksum:
            raise _DamagedError("its checksum does not match")
        return records

    def _channel(self, content: memoryview) -> None:
        schema = self._schemas.get(_uint(content, 2, 2), "")
        topic, position = _text(content, 4)
        encoding, _ = _text(content, position)
        # A topic of another serialization cannot be read, so it gets no type that is wanted.
        self._channels[_uint(content, 0, 2)] = (topic, schema if encoding == "cdr" else "")

    def _message(self, content: memoryview) -> Iterator[RecordedMessage]:
        channel, _, log_time_ns, _ = _MESSAGE_HEAD.unpack_from(content)
        topic, message_type = self._channels.get(channel, ("", ""))
        if self._wanted(topic, message_type):
            data = bytes(content[_MESSAGE_HEAD.size :])
            yield RecordedMessage(topic, message_type, log_time_ns, data)


def _decompressed(packed: memoryview, compression: str, size: int) -> memoryview:
    """Return the records of a chunk, as many as the bytes that are there hold."""
    if not compression:
        return packed
    try:
        if compression == "zstd":
            return memoryview(ZstdDecompressor().decompress(packed, size))
        if compression == "lz4":
            return memoryview(LZ4FrameDecompressor().decompress(packed, size))
    except (ZstdError, RuntimeError, EOFError) as error:
        raise _DamagedError(f"{compression}: {error}") from error
    raise _DamagedError(f"its compression '{compression[:32]}' is not known")


def _uint(content: memoryview, position: int, size: int) -> int:
    if position + size > len(content):
        raise _DamagedError("it is too short")
    return int.from_bytes(content[position : position + size], "little")


def _text(content: memoryview, position: int) -> tuple[str, int]:
    """Return the text at a position, and the position after it."""
    start = position + 4
    end = start + _uint(content, position, 4)
    if end > len(content):
        raise _DamagedError("it is too short")
    return bytes(content[start:end]).decode(), end
