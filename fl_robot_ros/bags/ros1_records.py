"""Reads the messages of ROS 1 bags, whole, unindexed, cut off or damaged.

A file is read from front to back, which needs no index: a recorder that is killed leaves none.
Format: https://wiki.ros.org/Bags/Format/2.0.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

from fl_robot_ros.bags.decompression import MAX_UNPACKED_BYTES, unpacked_bytes
from fl_robot_ros.bags.record_walk import blocks_from, walk_records
from fl_robot_ros.bags.recorded_message import (
    MAX_NAME_BYTES,
    DamagedError,
    FileSummary,
    RecordedMessage,
    Salvage,
    TopicCounts,
    Wanted,
    ros2_type,
)
from fl_robot_ros.bags.time_order import in_time_order

_MAGIC = b"#ROSBAG V2.0\n"
_MESSAGE, _BAG, _INDEX, _CHUNK, _CHUNK_INFO, _CONNECTION = 2, 3, 4, 5, 6, 7
_NS_PER_SEC = 1_000_000_000
_UINT32 = struct.Struct("<I")
_PAIR = struct.Struct("<II")
# Headers hold a few short fields; connections' message definitions are no part of them.
_MAX_HEADER_BYTES = 1 << 16
# A connection's message definition has some 10 kB; mcap files have no more topics either.
_MAX_CONNECTION_BYTES = 1 << 24
_MAX_CONNECTIONS = 1 << 16
# The header field that says that a record is a chunk, and how far before it a header may begin.
_CHUNK_FIELD = b"\x04\x00\x00\x00op=\x05"
_MAX_CHUNK_HEADER_BYTES = 64


class _Record(NamedTuple):
    """A record: its kind, its header's fields, and where its data and itself end."""

    kind: int
    fields: dict[bytes, bytes]
    data: int
    end: int


class _Index(NamedTuple):
    """Counts by topic, and start time (ns) and position of the chunks."""

    counts: TopicCounts
    chunks: list[tuple[int, int]]


def read_ros1_summary(path: Path) -> FileSummary:
    """Return what the file says of itself.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        index = _Bag(file, path.stat().st_size, Salvage()).index()
    if index is None:
        return FileSummary()
    return FileSummary(index.counts, min(start_ns for start_ns, _ in index.chunks))


def read_ros1_records(path: Path, wanted: Wanted, salvage: Salvage) -> Iterator[RecordedMessage]:
    """Yield the wanted messages, as far as the file is readable.

    Chunks that overlap in time are merged; where they do not lie in the order of their times,
    the file's index says in which order to read them.

    Args:
        path: The file.
        wanted: Chooses messages by topic and ROS 2 type, as in "sensor_msgs/msg/Image".
        salvage: Is told what was lost.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        yield from in_time_order(_Bag(file, path.stat().st_size, salvage).batches(wanted))


class _Bag:
    def __init__(self, file: BinaryIO, size: int, salvage: Salvage) -> None:
        self._file = file
        self._size = size
        self._salvage = salvage
        self._connections: dict[int, tuple[str, str]] = {}

    def index(self) -> _Index | None:
        """Return the index, None where there is none or it is damaged."""
        position = self._bag_number(b"index_pos")
        counts: Counter[tuple[str, str]] = Counter()
        chunks = []
        while 0 < position < self._size:
            record = _record_at(self._file, position, self._size)
            if record is None or record.end > self._size:
                return None
            try:
                if record.kind == _CONNECTION:
                    self._connect(record, self._file)
                elif record.kind == _CHUNK_INFO:
                    place = int.from_bytes(record.fields.get(b"chunk_pos", b""), "little")
                    chunks.append((_time_ns(record.fields, b"start_time"), place))
                    self._file.seek(record.data)
                    data = self._file.read(record.end - record.data)
                    for connection, count in _PAIR.iter_unpack(data):
                        counts[self._connections[connection]] += count
            except (DamagedError, struct.error, KeyError):
                return None
            position = record.end
        return _Index(dict(counts), sorted(chunks, key=lambda chunk: chunk[1])) if counts else None

    def batches(self, wanted: Wanted) -> Iterator[tuple[int, Iterable[RecordedMessage]]]:
        """Yield the chunks' start times, in ns, and messages."""
        index = self.index()
        records = self._in_index_order(index) if index is not None else None
        starts = {place: start_ns for start_ns, place in index.chunks} if index is not None else {}
        for position, record in records or self._until_end():
            if record.kind == _CHUNK:
                yield starts.get(position, 0), self._chunk(record, wanted)
            elif record.kind == _CONNECTION:
                self._take(record, self._file, wanted)

    def _in_index_order(self, index: _Index) -> list[tuple[int, _Record]] | None:
        """Return the chunks by time; None where they lie so anyway or the index is wrong."""
        by_time = sorted(set(index.chunks))
        if by_time == index.chunks or len(by_time) != self._bag_number(b"chunk_count"):
            return None
        records = []
        for _, position in by_time:
            record = _record_at(self._file, position, self._size)
            if record is None or record.kind != _CHUNK or record.end > self._size:
                return None
            records.append((position, record))
        return records

    def _until_end(self) -> Iterator[tuple[int, _Record]]:
        self._file.seek(0)
        start = len(_MAGIC)
        if self._file.read(start) != _MAGIC:
            self._salvage.note("it does not begin like a ROS 1 bag of version 2.0")
            start = 0
        position = start
        for record in walk_records(
            start, self._size, self._record_at, self._find_chunk, self._salvage
        ):
            if record.kind == _BAG and record.fields.get(b"encryptor"):
                self._salvage.note("it is encrypted")
                return
            yield position, record
            position = record.end
        if not 0 < self._bag_number(b"index_pos") <= self._size:
            self._salvage.note(
                f"it has no index: it ends in mid-recording, after {self._size} bytes"
            )

    def _record_at(self, position: int) -> _Record | None:
        record = _record_at(self._file, position, self._size)
        if record is None or record.end <= self._size:
            return record
        # Either the file is cut off in this record, or its length is damaged.
        is_cut = record.kind == _CHUNK and self._find_chunk(position + 1) == self._size
        return record if is_cut else None

    def _find_chunk(self, start: int) -> int:
        """Return the position of the first chunk from a position on, else the file's size."""
        for offset, block in blocks_from(self._file, start, _MAX_CHUNK_HEADER_BYTES * 2):
            hit = block.find(_CHUNK_FIELD)
            while hit >= 0:
                for begin in range(max(0, hit - _MAX_CHUNK_HEADER_BYTES), hit - 3):
                    header_end = begin + 4 + _UINT32.unpack_from(block, begin)[0]
                    if 0 <= header_end - hit - len(_CHUNK_FIELD) <= _MAX_CHUNK_HEADER_BYTES:
                        record = _record_at(self._file, offset + begin, self._size)
                        if record and record.kind == _CHUNK and record.end <= self._size:
                            return offset + begin
                hit = block.find(_CHUNK_FIELD, hit + 1)
        return self._size

    def _bag_number(self, field: bytes) -> int:
        """Return a number of the bag's header; 0 where the recorder did not get to write it."""
        record = _record_at(self._file, len(_MAGIC), self._size)
        if record is None or record.kind != _BAG:
            return 0
        return int.from_bytes(record.fields.get(field, b""), "little")

    def _chunk(self, record: _Record, wanted: Wanted) -> Iterator[RecordedMessage]:
        is_whole = record.end <= self._size
        self._file.seek(record.data)
        data = self._file.read(min(record.end, self._size) - record.data)
        compression = record.fields.get(b"compression", b"").decode(errors="replace")
        size = int.from_bytes(record.fields.get(b"size", b""), "little")
        try:
            if size > MAX_UNPACKED_BYTES:
                raise DamagedError(f"it claims to hold {size} bytes")
            if compression != "none":
                data = unpacked_bytes(data, compression, size)
            if is_whole and len(data) != size:
                raise DamagedError(f"{len(data)} of {size} bytes could be unpacked")
        except DamagedError as error:
            self._salvage.note(f"a chunk is damaged: {error}")
            self._salvage.skipped_bytes += len(data)
            return
        content = BytesIO(data)
        position = 0
        while position < len(data):
            inner = _record_at(content, position, len(data))
            if inner is None or inner.end > len(data):
                if is_whole:
                    self._salvage.note("a chunk is damaged inside")
                self._salvage.skipped_bytes += len(data) - position
                return
            message = self._take(inner, content, wanted)
            if message is not None:
                yield message
            position = inner.end

    def _take(self, record: _Record, file: BinaryIO, wanted: Wanted) -> RecordedMessage | None:
        try:
            if record.kind == _CONNECTION:
                self._connect(record, file)
            elif record.kind == _MESSAGE:
                connection = _number(record.fields, b"conn")
                topic, message_type = self._connections.get(connection, ("", ""))
                if wanted(topic, message_type):
                    file.seek(record.data)
                    data = file.read(record.end - record.data)
                    time_ns = _time_ns(record.fields, b"time")
                    return RecordedMessage(topic, message_type, time_ns, data, is_ros1=True)
        except DamagedError as error:
            self._salvage.note(f"a record of kind {record.kind} is damaged: {error}")
        return None

    def _connect(self, record: _Record, file: BinaryIO) -> None:
        """Take a connection: its topic is in the header, its type in the data."""
        size = record.end - record.data
        if size > _MAX_CONNECTION_BYTES or len(self._connections) >= _MAX_CONNECTIONS:
            raise DamagedError("there are too many topics, or of too many bytes")
        file.seek(record.data)
        details = _fields(file.read(size))
        topic = _name(record.fields, b"topic")
        message_type = ros2_type(_name(details, b"type"))
        self._connections[_number(record.fields, b"conn")] = (topic, message_type)


def _record_at(file: BinaryIO, position: int, size: int) -> _Record | None:
    """Return the record at a position, None where there is none; it may end behind the file."""
    file.seek(position)
    head = file.read(4)
    if len(head) < 4:
        return None
    (header_bytes,) = _UINT32.unpack(head)
    if not 0 < header_bytes <= min(_MAX_HEADER_BYTES, size - position - 8):
        return None
    header = file.read(header_bytes + 4)
    try:
        fields = _fields(header[:header_bytes])
        (data_bytes,) = _UINT32.unpack_from(header, header_bytes)
    except (DamagedError, struct.error):
        return None
    kind = int.from_bytes(fields.get(b"op", b""), "little")
    if not _MESSAGE <= kind <= _CONNECTION or (kind == _CHUNK and b"compression" not in fields):
        return None
    data = position + 8 + header_bytes
    return _Record(kind, fields, data, data + data_bytes)


def _fields(header: bytes) -> dict[bytes, bytes]:
    fields = {}
    position = 0
    while position < len(header):
        if position + 4 > len(header):
            raise DamagedError("a header ends in mid-field")
        start = position + 4
        position = start + _UINT32.unpack_from(header, position)[0]
        name, separator, value = header[start:position].partition(b"=")
        if position > len(header) or not separator:
            raise DamagedError("a header field is damaged")
        fields[name] = value
    return fields


def _name(fields: dict[bytes, bytes], name: bytes) -> str:
    value = fields.get(name, b"")
    if len(value) > MAX_NAME_BYTES:
        raise DamagedError(f"its {name.decode()} has {len(value)} bytes")
    return value.decode(errors="replace")


def _number(fields: dict[bytes, bytes], name: bytes) -> int:
    value = fields.get(name, b"")
    if len(value) != 4:
        raise DamagedError(f"its {name.decode()} is missing")
    return _UINT32.unpack(value)[0]  # type: ignore[no-any-return]


def _time_ns(fields: dict[bytes, bytes], name: bytes) -> int:
    value = fields.get(name, b"")
    if len(value) != 8:
        raise DamagedError(f"its {name.decode()} is missing")
    sec, nanosec = _PAIR.unpack(value)
    return int(sec) * _NS_PER_SEC + int(nanosec)
