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
# Messages may be compressed one by one; no serialized ROS 2 message begins like this.
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class BagStorage:
    """The storage files of a bag, read one after the other.

    Each file is opened on its own, without the folder's metadata: damage to one file leaves the
    others readable, and wrong metadata does no harm.

    Attributes:
        topics: Number of messages by topic, from the files.
        known_topics: Number of messages by topic, from files and metadata, the larger number.
        start_ns: Start of the recording in ns; None: neither metadata nor files give it.
    """

    def __init__(self, bag: BagFiles) -> None:
        """Read the summary of each file.

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
        """Say whether the bag has a wanted message; files without a summary are read for that.

        Raises:
            OSError: A file cannot be read.
        """
        return any(file.has(wanted) for file in self._files)

    def messages(self, wanted: Wanted) -> Iterator[RecordedMessage]:
        """Yield the wanted messages, each once, in the order of recording.

        Memory holds at most 64 MiB of messages, which may keep chunks of four times that size, and
        64 MiB of chunks being unpacked or one chunk of at most 512 MiB. Chunks that overlap in
        time by more than 64 MiB, and chunks of a file without an index, come in file order.

        Raises:
            OSError: A file cannot be read.
        """
        for file in self._files:
            yield from file.messages(wanted)

    def read_topics(self) -> TopicCounts:
        """Return the number of messages by topic; files without a summary are read for that.

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
        """Return what could not be read so far, one line each."""
        damaged = (file for file in self._files if file.salvage.damage)
        return [*self._losses, *(f"{file.name}: {file.salvage.damage}" for file in damaged)]

    def close(self) -> None:
        """Remove unpacked files; storage files are open only while they are read."""
        self._unpacker.close()


class _StorageFile:
    """One storage file; a compressed file that cannot be unpacked is a loss.

    Attributes:
        name: Name of the file in the bag.
        salvage: Collects the losses.
        topics: Number of messages by topic; None: unknown until the whole file is read.
        start_ns: Time of its first message in ns; None: unknown.
    """

    def __init__(self, path: Path, unpacker: Unpacker, promised: TopicCounts) -> None:
        """Read the file's summary; a compressed file is unpacked only if metadata is missing."""
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
                # Passed on as it is, and counted as a broken message.
                yield message

    def _storage(self) -> Storage | None:
        """Return the unpacked file; None: it cannot be unpacked, for example for lack of room."""
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
