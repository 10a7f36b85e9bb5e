"""The summary at the end of an mcap file: its channels, message counts and chunks.

Format: https://mcap.dev/spec.
"""

from __future__ import annotations

import struct
from binascii import crc32
from collections import Counter
from typing import BinaryIO, NamedTuple

from fl_robot_ros.bags.bag_topic import MAX_NAME_BYTES, Topic, TopicCounts, topic_of
from fl_robot_ros.errors import DamagedError

MCAP_MAGIC = b"\x89MCAP0\r\n"
HEADER, FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06
CHUNK_INDEX, STATISTICS, DATA_END = 0x08, 0x0B, 0x0F
RECORD_HEAD = struct.Struct("<BQ")

_ROS1 = "ros1"
_FOOTER_CONTENT = struct.Struct("<QQI")
_TAIL_BYTES = RECORD_HEAD.size + _FOOTER_CONTENT.size + len(MCAP_MAGIC)
_CHUNK_INDEX_HEAD = struct.Struct("<QQQQ")
_CHANNEL_COUNT = struct.Struct("<HQ")
# An hour of 30 MB/s in chunks of 1 MB takes some 10 MB.
_MAX_SUMMARY_BYTES = 1 << 26


class ChunkPlace(NamedTuple):
    """Place of a chunk: time of its first message in ns, position and length in bytes."""

    start_ns: int
    position: int
    length: int


class McapIndex(NamedTuple):
    """The summary of a file.

    Attributes:
        channels: The channels.
        counts: Number of messages by topic; None: not given.
        start_ns: Time of the first message in ns; None: not given.
        chunks: The chunks in the order of the file.
        has_channels: No channel or type is missing, as far as the summary tells.
    """

    channels: McapChannels
    counts: TopicCounts | None
    start_ns: int | None
    chunks: list[ChunkPlace]
    has_channels: bool


class McapChannel(NamedTuple):
    """A channel: its topic, and whether its messages are in the serialization of ROS 1."""

    topic: Topic
    is_ros1: bool


_UNKNOWN_CHANNEL = McapChannel(Topic("", ""), is_ros1=False)


class McapChannels:
    """The channels, as far as their records have been read."""

    def __init__(self) -> None:
        self._schemas: dict[int, str] = {}
        self._channels: dict[int, McapChannel] = {}

    def __contains__(self, channel: int) -> bool:
        return channel in self._channels

    @property
    def are_typed(self) -> bool:
        """Whether there are channels, and all have a type."""
        return bool(self._channels) and all(
            item.topic.type_text for item in self._channels.values()
        )

    def channel(self, number: int) -> McapChannel:
        """Return a channel; an unknown one has no topic name and type."""
        return self._channels.get(number, _UNKNOWN_CHANNEL)

    def add_schema(self, content: memoryview) -> None:
        """Add a schema record.

        Raises:
            DamagedError: It is damaged.
        """
        self._schemas[uint(content, 0, 2)] = text(content, 2)[0]

    def add_channel(self, content: memoryview) -> None:
        """Add a channel record.

        Raises:
            DamagedError: It is damaged.
        """
        schema = self._schemas.get(uint(content, 2, 2), "")
        name, position = text(content, 4)
        encoding, _ = text(content, position)
        topic = topic_of(name, schema, encoding)
        self._channels[uint(content, 0, 2)] = McapChannel(topic, encoding == _ROS1)


def read_mcap_index(file: BinaryIO, size: int) -> McapIndex | None:
    """Return the summary of a file; None: it is missing or damaged.

    Raises:
        OSError: The file cannot be read.
    """
    if size < len(MCAP_MAGIC) + _TAIL_BYTES:
        return None
    file.seek(size - _TAIL_BYTES)
    tail = file.read(_TAIL_BYTES)
    if RECORD_HEAD.unpack_from(tail) != (FOOTER, _FOOTER_CONTENT.size):
        return None
    start, _, checksum = _FOOTER_CONTENT.unpack_from(tail, RECORD_HEAD.size)
    length = size - _TAIL_BYTES - start
    if not tail.endswith(MCAP_MAGIC) or not start or not 0 < length <= _MAX_SUMMARY_BYTES:
        return None
    file.seek(start)
    summary = file.read(length)
    # The checksum covers the footer too, up to itself.
    if checksum and crc32(tail[: -len(MCAP_MAGIC) - 4], crc32(summary)) != checksum:
        return None
    try:
        return _parsed(memoryview(summary), start)
    except (DamagedError, struct.error):
        return None


def _parsed(summary: memoryview, end_of_data: int) -> McapIndex | None:
    channels = McapChannels()
    chunks: list[ChunkPlace] = []
    statistics: memoryview | None = None
    position = 0
    while position < len(summary):
        kind, length = RECORD_HEAD.unpack_from(summary, position)
        position += RECORD_HEAD.size
        if not kind or length > len(summary) - position:
            return None
        content = summary[position : position + length]
        position += length
        if kind == SCHEMA:
            channels.add_schema(content)
        elif kind == CHANNEL:
            channels.add_channel(content)
        elif kind == STATISTICS:
            statistics = content
        elif kind == CHUNK_INDEX:
            chunk_start_ns, _, place, chunk_length = _CHUNK_INDEX_HEAD.unpack_from(content)
            if place + chunk_length > end_of_data:
                return None
            chunks.append(ChunkPlace(chunk_start_ns, place, chunk_length))
    if statistics is None:
        # 0 is an unknown time.
        start_ns = min((chunk.start_ns for chunk in chunks), default=0) or None
        return McapIndex(channels, None, start_ns, chunks, channels.are_typed)
    counts = _counts(statistics, channels)
    start_ns = uint(statistics, 26, 8) if uint(statistics, 0, 8) else None
    return McapIndex(channels, counts, start_ns, chunks, counts is not None)


def _counts(statistics: memoryview, channels: McapChannels) -> TopicCounts | None:
    """Return the counts; None: the summary lacks a channel with messages, or its type."""
    counts: Counter[Topic] = Counter()
    position = 46
    end = position + uint(statistics, position - 4, 4)
    if len(statistics) < end:
        raise DamagedError("its statistics are too short")
    for number, count in _CHANNEL_COUNT.iter_unpack(statistics[position:end]):
        topic = channels.channel(number).topic
        if count and not topic.type_text:
            return None
        counts[topic] += count
    return dict(counts)


def uint(content: memoryview, position: int, size: int) -> int:
    """Return the unsigned number at a position.

    Raises:
        DamagedError: The content is too short.
    """
    if position + size > len(content):
        raise DamagedError("it is too short")
    return int.from_bytes(content[position : position + size], "little")


def text(content: memoryview, position: int) -> tuple[str, int]:
    """Return the text at a position, and the position after it.

    Raises:
        DamagedError: The content is too short, or the text is too long or not UTF-8.
    """
    start = position + 4
    length = uint(content, position, 4)
    if length > MAX_NAME_BYTES:
        raise DamagedError(f"a name in it has {length} bytes")
    end = start + length
    if end > len(content):
        raise DamagedError("it is too short")
    try:
        return bytes(content[start:end]).decode(), end
    except UnicodeDecodeError as error:
        raise DamagedError(f"a text in it is not UTF-8: {error}") from error
