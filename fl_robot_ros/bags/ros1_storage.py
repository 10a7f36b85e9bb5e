"""Reads ROS 1 bags with rosbags; `rosbag reindex` mends those that it cannot read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from io import BufferedReader, FileIO
from pathlib import Path, PosixPath

from rosbags.rosbag1.reader import Chunk, IndexData, Reader, decompressors

from fl_robot_ros.bags.bag_topic import MAX_NAME_BYTES, Topic, Wanted, topic_of
from fl_robot_ros.bags.decompression import MAX_UNPACKED_BYTES, unpacked_bytes
from fl_robot_ros.bags.storage import FileSummary, RecordedMessage, Salvage
from fl_robot_ros.errors import DamagedError

_MAGIC = b"#ROSBAG V2.0\n"
# Bytes that a reading may cost: a hostile index can name a chunk or message again and again.
_FREE_BYTES, _MAX_SHARE = 1 << 30, 1000
_MESSAGE_BYTES = 256
_SHOWN_CHARACTERS = 200


class Ros1Storage:
    """A ROS 1 bag, as a `Storage`; damage ends the reading."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def summary(self) -> FileSummary:
        """Return the file's summary, see `Storage.summary`."""
        try:
            with _Reader(_BagPath(self._path)) as reader:
                counts: Counter[Topic] = Counter()
                for connection, topic in reader.topics_by_connection().items():
                    counts[topic] += len(reader.indexes[connection])
                return FileSummary(dict(counts), reader.start_time)
        except Exception:  # The reader trusts its file: damage raises errors of any kind.
            return FileSummary()

    def messages(self, wanted: Wanted, salvage: Salvage) -> Iterator[RecordedMessage]:
        """Yield the wanted messages, see `Storage.messages`."""
        try:
            with _Reader(_BagPath(self._path)) as reader:
                topics = reader.topics_by_connection()
                chosen = [item for item in reader.connections if wanted(topics[item.id])]
                # To rosbags, no connections means all of them.
                for connection, time_ns, data in reader.messages(chosen) if chosen else ():
                    reader.spend(len(data) + _MESSAGE_BYTES)
                    yield RecordedMessage(topics[connection.id], time_ns, data, is_ros1=True)
        except Exception as error:
            reason = (str(error) or type(error).__name__)[:_SHOWN_CHARACTERS]
            salvage.note(
                f"it cannot be read as a ROS 1 bag: {reason}; if it was cut off or its recorder "
                f"killed, run: rosbag reindex {self._path.name}"
            )


class _BoundedFile(BufferedReader):
    """A file that refuses to read more than a record can have, for example by a wrong length."""

    def __init__(self, path: Path) -> None:
        super().__init__(FileIO(str(path)))
        self._most = min(path.stat().st_size, MAX_UNPACKED_BYTES)

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= self._most:
            raise DamagedError(f"a record claims to have {size} bytes")
        return super().read(size)


class _BagPath(PosixPath):
    def open(self, *_: object) -> BufferedReader:  # type: ignore[override]
        file = _BoundedFile(self)
        if file.peek(len(_MAGIC))[: len(_MAGIC)] != _MAGIC:
            file.close()
            raise DamagedError("it does not begin like a ROS 1 bag of version 2.0")
        return file


class _Reader(Reader):
    """The reader of rosbags, with bounds on time and memory."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._room = _FREE_BYTES + _MAX_SHARE * path.stat().st_size

    def topics_by_connection(self) -> dict[int, Topic]:
        """Return the topic of each connection.

        Raises:
            DamagedError: A name is too long.
        """
        topics = {}
        for item in self.connections:
            if max(len(item.topic), len(item.msgtype)) > MAX_NAME_BYTES:
                raise DamagedError("the name of a topic or type is too long")
            topics[item.id] = topic_of(item.topic, item.msgtype, "ros1")
        return topics

    def spend(self, size: int) -> None:
        """Count bytes that were read.

        Raises:
            DamagedError: There are more than a sound file can have.
        """
        self._room -= size
        if self._room < 0:
            raise DamagedError("its index names the same messages again and again")

    def read_index_data(self, pos: int, indexes: dict[int, list[IndexData]]) -> None:
        """Read an index of a chunk, and count its bytes."""
        assert self.bio
        start = self.bio.tell()
        super().read_index_data(pos, indexes)
        self.spend(_MESSAGE_BYTES * (self.bio.tell() - start))

    def read_chunk(self) -> Chunk:
        """Return a chunk whose unpacked size is bounded."""
        chunk = super().read_chunk()
        (compression,) = (
            name for name, unpack in decompressors.items() if unpack is chunk.decompressor
        )

        def unpack(packed: bytes) -> bytes:
            content = packed
            if compression != "none":
                content = unpacked_bytes(packed, compression, MAX_UNPACKED_BYTES)
            self.spend(len(content))
            return content

        return chunk._replace(decompressor=unpack)
