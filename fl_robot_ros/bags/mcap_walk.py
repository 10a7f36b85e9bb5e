"""Walks the records of mcap files, and finds the next record after damage.

Format: https://mcap.dev/spec.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from fl_robot_ros.bags.decompression import MAX_UNPACKED_BYTES
from fl_robot_ros.bags.mcap_index import (
    CHANNEL,
    CHUNK,
    DATA_END,
    FOOTER,
    HEADER,
    MESSAGE,
    RECORD_HEAD,
    SCHEMA,
    STATISTICS,
    McapChannels,
)
from fl_robot_ros.bags.storage import Salvage

_READ_KINDS = (SCHEMA, CHANNEL, MESSAGE, CHUNK)
_LEAST_BYTES = {
    HEADER: 8,
    SCHEMA: 14,
    CHANNEL: 16,
    MESSAGE: 22,
    CHUNK: 40,
    STATISTICS: 46,
    DATA_END: 4,
}
# The head of a record that this package reads, shorter than 4 GiB.
_LIKELY_HEAD = re.compile(rb"[\x03-\x06\x0f][\x00-\xff]{4}\x00{4}")
# Fields that a later version of the format may add to a chunk.
_MAX_NEW_FIELDS_BYTES = 1024
_COMPRESSIONS = {b"", b"lz4", b"zstd"}
# Kind, length, and enough of the content to check its plausibility.
_LOOK_BYTES = RECORD_HEAD.size + 64
_UINT32 = struct.Struct("<I")
_BLOCK_BYTES = 1 << 20


class McapRecord(NamedTuple):
    """A record: its kind, and the positions of its content and of its end."""

    kind: int
    content: int
    end: int


class McapWalk:
    """Walks the records of a file, or of the unpacked content of a chunk."""

    def __init__(
        self, file: BinaryIO, size: int, channels: McapChannels, salvage: Salvage
    ) -> None:
        """Begin a walk.

        Args:
            file: The records.
            size: Size of the file in bytes.
            channels: Channels known so far; after damage, only their messages count as messages.
            salvage: Collects the losses.
        """
        self._file = file
        self._size = size
        self._channels = channels
        self._salvage = salvage

    def records(self, start: int) -> Iterator[McapRecord]:
        """Yield the records from a position on; the last chunk may be cut.

        A record counts as whole if another one or the end of the file follows, or if nothing
        inside looks like a record. Each byte is read a constant number of times.
        """
        position = start
        found = start
        record = self.record_at(position) if position < self._size else None
        while position < self._size:
            following = None
            if record is not None and record.end < self._size:
                following = self.record_at(record.end)
                if following is None:
                    found = found if found > position else self._find_next(position + 1)
                    record = record if found >= record.end else None
            if record is None:
                found = found if found > position else self._find_next(position + 1)
                if found < self._size:
                    self._salvage.note(f"it is damaged at byte {position}")
                self._salvage.skipped_bytes += found - position
                position = found
                record = self.record_at(position) if position < self._size else None
                continue
            yield record
            position = record.end
            record = following

    def content(self, record: McapRecord) -> memoryview:
        """Return the content of a record; of a cut one, the part that is there."""
        self._file.seek(record.content)
        return memoryview(self._file.read(min(record.end, self._size) - record.content))

    def record_at(self, position: int) -> McapRecord | None:
        """Return the record at a position; None: no plausible record."""
        self._file.seek(position)
        look = self._file.read(_LOOK_BYTES)
        if len(look) < RECORD_HEAD.size:
            return None
        kind, length = RECORD_HEAD.unpack_from(look)
        # Later versions of the format may add kinds, and fields to known kinds.
        if not kind or length < _LEAST_BYTES.get(kind, 0) or (kind == FOOTER and length != 20):
            return None
        if kind in _READ_KINDS and length > MAX_UNPACKED_BYTES:
            return None
        content = position + RECORD_HEAD.size
        record = McapRecord(kind, content, content + length)
        if kind == CHUNK:
            return record if _is_chunk(look, length) else None
        return record if record.end <= self._size else None

    def _find_next(self, start: int) -> int:
        """Return the position of the next record from here on, else the file's size."""
        position = start
        while True:
            self._file.seek(position)
            block = self._file.read(_BLOCK_BYTES)
            match = _LIKELY_HEAD.search(block)
            while match:
                if self._is_record(position + match.start()):
                    return position + match.start()
                match = _LIKELY_HEAD.search(block, match.start() + 1)
            if len(block) < _BLOCK_BYTES:
                return self._size
            # The head of a record may cross the end of a block.
            position += len(block) - (RECORD_HEAD.size - 1)

    def _is_record(self, position: int) -> bool:
        """Say whether a record begins here, by stricter rules than `record_at`."""
        record = self.record_at(position)
        if record is None or record.end > self._size:
            return False
        if record.kind == CHUNK:
            return True
        content = self.content(record._replace(end=min(record.end, record.content + 8)))
        if record.kind == MESSAGE:
            is_sound = int.from_bytes(content[:2], "little") in self._channels
        elif record.kind in (SCHEMA, CHANNEL):
            text = 2 if record.kind == SCHEMA else 4
            text_bytes = int.from_bytes(content[text : text + 4], "little")
            is_sound = record.content + text + 4 + text_bytes < record.end
        else:
            is_sound = True
        is_last = record.end == self._size
        return is_sound and (is_last or self.record_at(record.end) is not None)


def _is_chunk(look: bytes, length: int) -> bool:
    """Say whether the sizes at the start of a chunk agree with its length."""
    fixed = RECORD_HEAD.size + 28
    if len(look) < fixed + 4:
        return False
    (name_bytes,) = _UINT32.unpack_from(look, fixed)
    name = look[fixed + 4 : fixed + 4 + name_bytes]
    packed = look[fixed + 4 + name_bytes : fixed + 12 + name_bytes]
    new_fields_bytes = length - 40 - name_bytes - int.from_bytes(packed, "little")
    return name in _COMPRESSIONS and 0 <= new_fields_bytes <= _MAX_NEW_FIELDS_BYTES
