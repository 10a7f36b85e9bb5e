"""Writes mcap files record by record, for tests: in ways that no recorder does."""

from __future__ import annotations

import struct
import sys
from collections import Counter
from collections.abc import Mapping, Sequence

import lz4.frame
from bag_recorder import Item, serialized

from fl_robot_ros.bags.mcap_index import (
    CHANNEL,
    CHUNK,
    CHUNK_INDEX,
    DATA_END,
    FOOTER,
    HEADER,
    MCAP_MAGIC,
    MESSAGE,
    SCHEMA,
    STATISTICS,
)

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

COMPRESS = {"": bytes, "zstd": zstd.compress, "lz4": lz4.frame.compress}


def record_of(kind: int, content: bytes) -> bytes:
    return struct.pack("<BQ", kind, len(content)) + content


def text(value: str) -> bytes:
    return struct.pack("<I", len(value.encode())) + value.encode()


def chunk_of(records: bytes, times: Sequence[int], compression: str = "") -> bytes:
    """Return a chunk record."""
    packed = COMPRESS[compression](records)
    head = struct.pack("<QQQI", min(times), max(times), len(records), 0) + text(compression)
    return record_of(CHUNK, head + struct.pack("<Q", len(packed)) + packed)


class McapBuilder:
    """Puts together an mcap file.

    A channel's records come before its first message, in the same chunk.
    """

    def __init__(self, channels: Mapping[str, tuple[str, str]] | None = None) -> None:
        """Begin a file.

        Args:
            channels: Type and message encoding by topic, where they are not ROS 2's own; without
                a schema where the type is "".
        """
        self._given = channels or {}
        self.content = MCAP_MAGIC + record_of(HEADER, text("ros2") + text("test"))
        self._channels: dict[tuple[str, str], tuple[bytes, bytes]] = {}
        self._counts: Counter[int] = Counter()
        self._times: list[int] = []
        self._chunks: list[bytes] = []

    def add(self, item: Item) -> None:
        """Add a message outside of chunks."""
        self.content += self._records([item])

    def add_chunk(
        self, items: Sequence[Item], compression: str = "", is_indexed: bool = True
    ) -> None:
        """Add a chunk."""
        times = [item.time_ns for item in items]
        chunk = chunk_of(self._records(items), times, compression)
        place = struct.pack("<QQQQ", min(times), max(times), len(self.content), len(chunk))
        if is_indexed:
            index = record_of(CHUNK_INDEX, place + bytes(12) + text(compression) + bytes(16))
            self._chunks.append(index)
        self.content += chunk

    def records_of(self, items: Sequence[Item]) -> bytes:
        """Return the records of a chunk, for `add_raw` to add in some way."""
        return self._records(items)

    def add_raw(self, record: bytes) -> None:
        """Add any bytes."""
        self.content += record

    def finish(self, repeated: str = "schemas channels statistics chunks") -> bytes:
        """Return the file, with a summary of the named kinds of records, or without any."""
        counts = b"".join(struct.pack("<HQ", *item) for item in self._counts.items())
        statistics = struct.pack("<QHIIII", len(self._times), 0, len(self._channels), 0, 0, 0)
        statistics += struct.pack("<QQI", min(self._times), max(self._times), len(counts))
        kinds = {
            "schemas": [schema for schema, _ in self._channels.values()],
            "channels": [channel for _, channel in self._channels.values()],
            "statistics": [record_of(STATISTICS, statistics + counts)],
            "chunks": self._chunks,
        }
        data = self.content + record_of(DATA_END, bytes(4))
        summary = b"".join(record for kind in repeated.split() for record in kinds[kind])
        footer = struct.pack("<QQI", len(data) if summary else 0, 0, 0)
        return data + summary + record_of(FOOTER, footer) + MCAP_MAGIC

    def _records(self, items: Sequence[Item]) -> bytes:
        records = b""
        for item in items:
            kind, encoding = self._given.get(item.topic, (None, "cdr"))
            own_kind, data = serialized(item, is_ros1=encoding == "ros1")
            kind = own_kind if kind is None else kind
            name = item.topic, kind
            number = list(self._channels).index(name) if name in self._channels else -1
            if number < 0:
                number = len(self._channels)
                schema = struct.pack("<H", number + 1) + text(kind) + text("ros2msg") + text("")
                schema_number = number + 1 if kind else 0
                channel = struct.pack("<HH", number, schema_number)
                channel += text(item.topic) + text(encoding)
                pair = record_of(SCHEMA, schema), record_of(CHANNEL, channel + bytes(4))
                self._channels[name] = pair
                records += b"".join(pair)
            head = struct.pack("<HIQQ", number, 0, item.time_ns, item.time_ns)
            records += record_of(MESSAGE, head + data)
            self._counts[number] += 1
            self._times.append(item.time_ns)
        return records
