"""Reads the messages of mcap files, whole, cut off or damaged.

A file without footer and index, as a killed recorder leaves it, is read from front to back. Chunks
with a wrong checksum and bytes that are no record are skipped and reported. Format:
https://mcap.dev/spec.
"""

from __future__ import annotations

import struct
from binascii import crc32
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from fl_robot_ros.bags.bag_topic import Wanted
from fl_robot_ros.bags.decompression import MAX_UNPACKED_BYTES, Packed, unpacked_ahead
from fl_robot_ros.bags.mcap_index import (
    CHANNEL,
    CHUNK,
    DATA_END,
    FOOTER,
    MCAP_MAGIC,
    MESSAGE,
    RECORD_HEAD,
    SCHEMA,
    McapChannels,
    McapIndex,
    read_mcap_index,
    text,
    uint,
)
from fl_robot_ros.bags.mcap_walk import McapRecord, McapWalk
from fl_robot_ros.bags.storage import FileSummary, RecordedMessage, Salvage
from fl_robot_ros.bags.time_order import in_time_order
from fl_robot_ros.errors import DamagedError

_MESSAGE_HEAD = struct.Struct("<HIQQ")
_CHUNK_HEAD = struct.Struct("<QQQI")


class McapStorage:
    """An mcap file, as a `Storage`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def summary(self) -> FileSummary:
        """Return the file's summary, see `Storage.summary`."""
        with self._path.open("rb") as file:
            index = read_mcap_index(file, self._path.stat().st_size)
        return FileSummary() if index is None else FileSummary(index.counts, index.start_ns)

    def messages(self, wanted: Wanted, salvage: Salvage) -> Iterator[RecordedMessage]:
        """Yield the wanted messages, see `Storage.messages`.

        Chunks that overlap in time are merged. If chunks are out of order, for example after a
        conversion topic by topic, the file's index gives the order of reading.
        """
        with self._path.open("rb") as file:
            size = self._path.stat().st_size
            index = read_mcap_index(file, size)
            file.seek(0)
            has_magic = file.read(len(MCAP_MAGIC)) == MCAP_MAGIC
            if not has_magic:
                salvage.note("it does not begin like an mcap file")
            channels = index.channels if index is not None else McapChannels()
            walk = McapWalk(file, size, channels, salvage)
            reader = _RecordReader(walk, channels, wanted, salvage)
            records = _until_end(walk, len(MCAP_MAGIC) if has_magic else 0, size, salvage)
            chunks = _in_index_order(walk, index) if index is not None else None
            if chunks is None:
                yield from in_time_order(reader.batches(records, size))
                return
            # Records that the index lacks are few; they are held until their time has come.
            places = {chunk.content for chunk in chunks}
            others = reader.batches((item for item in records if item.content not in places), size)
            batches = chain(
                ((0, messages) for _, messages in others), reader.batches(chunks, size)
            )
            yield from in_time_order(batches)


def _in_index_order(walk: McapWalk, index: McapIndex) -> list[McapRecord] | None:
    """Return the chunks by time; None if file order is right, or the index wrong.

    Also None if the index lacks channels: a chunk with messages might come before their channel.
    """
    by_time = sorted(index.chunks)
    if by_time == index.chunks or not index.has_channels:
        return None
    records = []
    for place in by_time:
        record = walk.record_at(place.position)
        if record is None or record.kind != CHUNK or record.end - place.position != place.length:
            return None
        records.append(record)
    return records if len({record.content for record in records}) == len(records) else None


def _until_end(walk: McapWalk, start: int, size: int, salvage: Salvage) -> Iterator[McapRecord]:
    for record in walk.records(start):
        if record.kind in (DATA_END, FOOTER):
            return
        yield record
    salvage.note(f"it ends in mid-recording, after {size} bytes")


class _Content(NamedTuple):
    """The content of a record, of a cut one as far as it is there."""

    kind: int
    data: memoryview
    is_whole: bool


class _RecordReader:
    """Reads messages, in chunks and outside of chunks."""

    def __init__(
        self, walk: McapWalk, channels: McapChannels, wanted: Wanted, salvage: Salvage
    ) -> None:
        self._walk = walk
        self._channels = channels
        self._wanted = wanted
        self._salvage = salvage

    def batches(
        self, records: Iterable[McapRecord], size: int
    ) -> Iterator[tuple[int, Iterable[RecordedMessage]]]:
        """Yield for each record its start time in ns and its messages.

        Take the messages before the next record is pulled: channels come before messages.
        """
        contents = (
            _Content(record.kind, self._walk.content(record), record.end <= size)
            for record in records
            if record.kind in (SCHEMA, CHANNEL, MESSAGE, CHUNK)
        )
        for content, unpacking in unpacked_ahead(contents, _packed_in):
            if content.kind == CHUNK:
                # 0 is an unknown time.
                yield uint(content.data, 0, 8), self._chunk(content, unpacking)
            else:
                messages = list(self._record(content.kind, content.data))
                yield (messages[0].recorded_ns if messages else 0), messages

    def _record(self, kind: int, content: memoryview) -> Iterator[RecordedMessage]:
        """Read one record other than a chunk."""
        try:
            if kind == MESSAGE:
                number, _, log_time_ns, _ = _MESSAGE_HEAD.unpack_from(content)
                topic, is_ros1 = self._channels.channel(number)
                if self._wanted(topic):
                    data: bytes | memoryview = content[_MESSAGE_HEAD.size :]
                    # A small message must not keep a large chunk in memory.
                    if 4 * len(data) <= memoryview(content.obj).nbytes:
                        data = bytes(data)
                    yield RecordedMessage(topic, log_time_ns, data, is_ros1)
            elif kind == SCHEMA:
                self._channels.add_schema(content)
            elif kind == CHANNEL:
                self._channels.add_channel(content)
        except (DamagedError, struct.error) as error:
            self._salvage.note(f"a record of kind {kind} is damaged: {error}")

    def _chunk(
        self, content: _Content, unpacking: Future[bytes] | None
    ) -> Iterator[RecordedMessage]:
        """Read the records of a chunk; of a cut chunk, those that are there."""
        try:
            records = _unpacked(content, unpacking)
        except (DamagedError, struct.error) as error:
            self._salvage.note(f"a chunk is damaged: {error}")
            self._salvage.skipped_bytes += len(content.data)
            return
        position = 0
        while position + RECORD_HEAD.size <= len(records):
            kind, length = RECORD_HEAD.unpack_from(records, position)
            end = position + RECORD_HEAD.size + length
            if not kind or end > len(records):
                break
            # Readers ignore unknown kinds, such as those of applications.
            if kind in (SCHEMA, CHANNEL, MESSAGE):
                yield from self._record(kind, records[position + RECORD_HEAD.size : end])
            position = end
        if position == len(records):
            return
        if content.is_whole:
            self._salvage.note("a chunk is damaged inside")
        walk = McapWalk(BytesIO(records), len(records), self._channels, self._salvage)
        for record in walk.records(position):
            if record.kind != CHUNK:
                yield from self._record(record.kind, walk.content(record))


def _packed_in(content: _Content) -> Packed | None:
    """Return the compressed records of a chunk; None: they are not compressed."""
    if content.kind != CHUNK:
        return None
    try:
        packed, _ = _chunk_records(content.data)
    except (DamagedError, struct.error):
        return None
    return packed if packed.compression else None


def _unpacked(content: _Content, unpacking: Future[bytes] | None) -> memoryview:
    """Return the records of a chunk.

    Raises:
        DamagedError, struct.error: It is damaged.
    """
    packed, checksum = _chunk_records(content.data)
    records = memoryview(packed.data if unpacking is None else unpacking.result())
    if content.is_whole and len(records) != packed.max_bytes:
        raise DamagedError(f"{len(records)} of {packed.max_bytes} bytes could be unpacked")
    if content.is_whole and checksum and crc32(records) != checksum:
        raise DamagedError("its checksum does not match")
    return records


def _chunk_records(chunk: memoryview) -> tuple[Packed, int]:
    """Return the records of a chunk, still compressed, and their checksum, 0 for none.

    Raises:
        DamagedError, struct.error: The chunk is damaged.
    """
    _, _, size, checksum = _CHUNK_HEAD.unpack_from(chunk)
    if size > MAX_UNPACKED_BYTES:
        raise DamagedError(f"it claims to hold {size} bytes")
    compression, position = text(chunk, _CHUNK_HEAD.size)
    data = chunk[position + 8 : position + 8 + uint(chunk, position, 8)]
    return Packed(data, compression, size), checksum
