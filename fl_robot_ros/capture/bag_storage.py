"""One storage file of a bag, whole or damaged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fl_robot_ros.capture.decompression import MAX_UNPACKED_BYTES, Packed, unpacked_ahead
from fl_robot_ros.capture.mcap_records import read_mcap_records, read_mcap_topics
from fl_robot_ros.capture.recorded_message import (
    DamagedError,
    RecordedMessage,
    Salvage,
    TopicCounts,
    Wanted,
)
from fl_robot_ros.capture.ros1_records import read_ros1_records, read_ros1_topics
from fl_robot_ros.capture.sqlite_records import read_sqlite_records, read_sqlite_topics

# Where messages are compressed one by one; serialized ROS 2 messages never begin like this.
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class StorageFile:
    """One .mcap, .db3 or .bag file.

    Each file is opened by itself, not through its folder's metadata: so the damage of one file
    leaves the others readable, and metadata that disagrees with its files does not matter.

    Attributes:
        name: Name of the file as it lies in the bag.
        salvage: Is told what was lost.
        is_ros1: Whether its messages are in the serialization of ROS 1.
        topics: Number of messages by topic and type; None where only reading it all would tell.
    """

    def __init__(self, path: Path, name: str, salvage: Salvage) -> None:
        """Look into a file.

        Raises:
            OSError: The file cannot be read.
        """
        self.name = name
        self.salvage = salvage
        self.is_ros1 = path.suffix not in (".mcap", ".db3")
        self._path = path
        self.topics = self._read_topics()

    def has(self, wanted: Wanted) -> bool:
        """Say whether the file has a wanted message; may have to read a damaged file.

        Raises:
            OSError: The file cannot be read.
        """
        if self.topics is not None:
            return any(wanted(*topic) for topic in self.topics)
        return next(self._records(wanted, Salvage()), None) is not None

    def messages(self, wanted: Wanted) -> Iterator[RecordedMessage]:
        """Yield the wanted messages, each once, in the order of recording.

        At most 64 MiB of messages, which may be a quarter of their chunks, and the chunks that are
        being unpacked are held in memory, however large the file is: 1 MB for each core in most
        bags, at most 512 MiB for each. So chunks that overlap in time by more than 64 MiB come in
        the order in which they lie in the file, and so do those of a file without index.

        Raises:
            OSError: The file cannot be read.
        """
        self.salvage.skipped_bytes = 0
        records = self._records(wanted, self.salvage)
        if self.is_ros1:
            yield from records
            return
        for message, unpacking in unpacked_ahead(records, _packed_in):
            try:
                yield message if unpacking is None else message._replace(data=unpacking.result())
            except DamagedError:
                # Left as it is, it is counted as a broken message.
                yield message

    def _read_topics(self) -> TopicCounts | None:
        if self.is_ros1:
            return read_ros1_topics(self._path)
        if self._path.suffix == ".mcap":
            return read_mcap_topics(self._path)
        return read_sqlite_topics(self._path)

    def _records(self, wanted: Wanted, salvage: Salvage) -> Iterator[RecordedMessage]:
        if self.is_ros1:
            return read_ros1_records(self._path, wanted, salvage)
        if self._path.suffix == ".mcap":
            return read_mcap_records(self._path, wanted, salvage)
        return read_sqlite_records(self._path, wanted, salvage)


def _packed_in(message: RecordedMessage) -> Packed | None:
    is_packed = message.data[:4] == _ZSTD_MAGIC
    return Packed(message.data, "zstd", MAX_UNPACKED_BYTES) if is_packed else None
