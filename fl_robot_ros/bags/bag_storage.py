"""All storage files of a bag, whole or damaged, as one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from fl_robot_ros.bags.bag_files import BagFiles, is_compressed
from fl_robot_ros.bags.bag_topic import Topic, TopicCounts, Wanted
from fl_robot_ros.bags.decompression import (
    MAX_UNPACKED_BYTES,
    Packed,
    Unpacker,
    unpacked_ahead,
    zstd_size,
)
from fl_robot_ros.bags.mcap_storage import McapStorage
from fl_robot_ros.bags.ros1_storage import Ros1Storage
from fl_robot_ros.bags.sqlite_storage import SqliteStorage
from fl_robot_ros.bags.storage import FileSummary, RecordedMessage, Salvage, Storage, is_time
from fl_robot_ros.errors import DamagedError

_STORAGES: dict[str, type[McapStorage | SqliteStorage]] = {
    ".mcap": McapStorage,
    ".db3": SqliteStorage,
}
# Where messages are compressed one by one; serialized ROS 2 messages never begin like this.
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class BagStorage:
    """The storage files of a bag, read one after the other.

    Each file is opened by itself, not through its folder's metadata: so the damage of one file
    leaves the others readable, and metadata that disagrees with its files does not matter.

    Attributes:
        topics: Number of messages by topic, as the files say.
        known_topics: Number of messages by topic, as the files or the metadata say.
        start_ns: When the recording began, in ns; None where neither metadata nor files say.
    """

    def __init__(self, bag: BagFiles) -> None:
        """Look into each file.

        Raises:
            OSError: A file cannot be read.
        """
        self._losses = bag.losses
        self._unpacker = Unpacker()
        promised = bag.metadata.promised
        try:
            self._files = [_StorageFile(path, self._unpacker, promised) for path in bag.files]
        except BaseException:
            self.close()
            raise
        self.topics: TopicCounts = Counter()
        for file in self._files:
            self.topics.update(file.topics or {})
        self.known_topics = {
            topic: max(promised.get(topic, 0), self.topics[topic])
            for topic in {**promised, **self.topics}
        }
        starts = [file.start_ns for file in self._files if file.start_ns is not None]
        self.start_ns = bag.metadata.start_ns
        if self.start_ns is None:
            self.start_ns = min(filter(is_time, starts), default=None)

    def has(self, wanted: Wanted) -> bool:
        """Say whether there is a wanted message; may have to read a damaged file.

        Raises:
            OSError: A file cannot be read.
        """
        return any(file.has(wanted) for file in self._files)

    def messages(self, wanted: Wanted) -> Iterator[RecordedMessage]:
        """Yield the wanted messages, each once, in the order of recording.

        At most 64 MiB of messages, which may be a quarter of their chunks, and 64 MiB of chunks
        that are being unpacked, or one of at most 512 MiB, are held in memory, however large the
        bag is. So chunks that overlap in time by more than 64 MiB come in the order in which they
        lie in their file, and so do those of a file without an index.

        Raises:
            OSError: A file cannot be read.
        """
        for file in self._files:
            yield from file.messages(wanted)

    def read_topics(self) -> TopicCounts:
        """Return the number of messages by topic; a file that does not say it is read for that.

        Raises:
            OSError: A file cannot be read.
        """
        topics = Counter(self.topics)

        def count(topic: Topic) -> bool:
            topics[topic] += 1
            return False

        for file in self._files:
            if file.topics is None:
                for _ in file.messages(count):
                    pass
        return topics

    def losses(self) -> list[str]:
        """Return what is not read, as far as it is known by now."""
        damaged = (file for file in self._files if file.salvage.damage)
        return [*self._losses, *(f"{file.name}: {file.salvage.damage}" for file in damaged)]

    def close(self) -> None:
        """Remove what was unpacked; the files are open only while they are read."""
        self._unpacker.close()


class _StorageFile:
    """One file; one that is compressed as a whole and cannot be unpacked is a loss.

    Attributes:
        name: Name of the file as it lies in the bag.
        salvage: Is told what was lost.
        topics: Number of messages by topic; None where only reading it all would tell.
        start_ns: When its first message was recorded, in ns; None where it does not say.
    """

    def __init__(self, path: Path, unpacker: Unpacker, promised: TopicCounts) -> None:
        """Look into a file; into a compressed one only where the metadata tells nothing."""
        self.name = path.name
        self.salvage = Salvage()
        self._path = path
        self._unpacker = unpacker
        self.topics: TopicCounts | None = {topic: 0 for topic, count in promised.items() if count}
        self.start_ns: int | None = None
        if not (is_compressed(path) and self.topics):
            storage = self._storage()
            self.topics, self.start_ns = storage.summary() if storage else FileSummary({})

    def has(self, wanted: Wanted) -> bool:
        if self.topics is not None:
            return any(map(wanted, self.topics))
        storage = self._storage()
        return storage is not None and any(True for _ in storage.messages(wanted, Salvage()))

    def messages(self, wanted: Wanted) -> Iterator[RecordedMessage]:
        storage = self._storage()
        if storage is None:
            return
        self.salvage.skipped_bytes = 0
        records = storage.messages(wanted, self.salvage)
        for message, unpacking in unpacked_ahead(records, _packed_in):
            try:
                yield message if unpacking is None else message._replace(data=unpacking.result())
            except DamagedError:
                # Left as it is, it is counted as a broken message.
                yield message

    def _storage(self) -> Storage | None:
        """Return the file as it lies unpacked; None where there is no room for that."""
        try:
            place = self._unpacker.place(self._path, self.salvage)
        except OSError as error:
            self.salvage.note(f"it cannot be unpacked: {error}")
            return None
        return _STORAGES.get(place.suffix, Ros1Storage)(place)


def _packed_in(message: RecordedMessage) -> Packed | None:
    if message.is_ros1 or message.data[:4] != _ZSTD_MAGIC:
        return None
    size = zstd_size(message.data)
    max_bytes = MAX_UNPACKED_BYTES if size is None else min(size, MAX_UNPACKED_BYTES)
    return Packed(message.data, "zstd", max_bytes)
