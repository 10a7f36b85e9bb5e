"""One storage file of a bag, whole or damaged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fl_robot_ros.bags.bag_files import Unpacker, is_compressed
from fl_robot_ros.bags.decompression import MAX_UNPACKED_BYTES, Packed, unpacked_ahead
from fl_robot_ros.bags.mcap_records import read_mcap_records, read_mcap_summary
from fl_robot_ros.bags.recorded_message import (
    DamagedError,
    FileSummary,
    RecordedMessage,
    Salvage,
    TopicCounts,
    Wanted,
)
from fl_robot_ros.bags.ros1_records import read_ros1_records, read_ros1_summary
from fl_robot_ros.bags.sqlite_records import read_sqlite_records, read_sqlite_summary
from fl_robot_ros.bags.zstd import ZstdError, get_frame_info

# Where messages are compressed one by one; serialized ROS 2 messages never begin like this.
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ZSTD_HEAD_BYTES = 18


class StorageFile:
    """One .mcap, .db3 or .bag file.

    Each file is opened by itself, not through its folder's metadata: so the damage of one file
    leaves the others readable, and metadata that disagrees with its files does not matter. One
    that is compressed as a whole and cannot be unpacked, for lack of room, is a loss.

    Attributes:
        name: Name of the file as it lies in the bag.
        salvage: Is told what was lost.
        topics: Number of messages by topic and type; None where only reading it all would tell.
        start_ns: When its first message was recorded, in ns; None where it does not say.
    """

    def __init__(self, path: Path, unpacker: Unpacker, promised: TopicCounts) -> None:
        """Look into a file; into a compressed one only where the metadata tells nothing.

        Args:
            path: The file.
            unpacker: Unpacks it, if need be, whenever it is read.
            promised: What the metadata says of all files.

        Raises:
            OSError: The file cannot be read.
        """
        self.name = path.name
        self.salvage = Salvage()
        self._path = path
        self._unpacker = unpacker
        self._suffix = Path(path.stem).suffix if is_compressed(path) else path.suffix
        self._is_ros1 = self._suffix not in (".mcap", ".db3")
        self.topics: TopicCounts | None = {topic: 0 for topic, count in promised.items() if count}
        self.start_ns: int | None = None
        if not (is_compressed(path) and self.topics):
            self.topics, self.start_ns = self._read_summary()

    def has(self, wanted: Wanted) -> bool:
        """Say whether the file has a wanted message; may have to read a damaged file.

        Raises:
            OSError: The file cannot be read.
        """
        if self.topics is not None:
            return any(wanted(*topic) for topic in self.topics)
        place = self._place()
        return place is not None and any(True for _ in self._records(place, wanted, Salvage()))

    def messages(self, wanted: Wanted) -> Iterator[RecordedMessage]:
        """Yield the wanted messages, each once, in the order of recording.

        At most 64 MiB of messages, which may be a quarter of their chunks, and 64 MiB of chunks
        that are being unpacked, or one of at most 512 MiB, are held in memory, however large the
        file is. So chunks that overlap in time by more than 64 MiB come in
        the order in which they lie in the file, and so do those of a file without index.

        Raises:
            OSError: The file cannot be read.
        """
        place = self._place()
        if place is None:
            return
        self.salvage.skipped_bytes = 0
        records = self._records(place, wanted, self.salvage)
        if self._is_ros1:
            yield from records
            return
        for message, unpacking in unpacked_ahead(records, _packed_in):
            try:
                yield message if unpacking is None else message._replace(data=unpacking.result())
            except DamagedError:
                # Left as it is, it is counted as a broken message.
                yield message

    def _place(self) -> Path | None:
        """Return where the file lies unpacked; None where there is no room for that."""
        try:
            return self._unpacker.place(self._path, self.salvage)
        except OSError as error:
            self.salvage.note(f"it cannot be unpacked: {error}")
            return None

    def _read_summary(self) -> FileSummary:
        place = self._place()
        if place is None:
            return FileSummary({})
        if self._is_ros1:
            return read_ros1_summary(place)
        if self._suffix == ".mcap":
            return read_mcap_summary(place)
        return read_sqlite_summary(place)

    def _records(self, place: Path, wanted: Wanted, salvage: Salvage) -> Iterator[RecordedMessage]:
        if self._is_ros1:
            return read_ros1_records(place, wanted, salvage)
        if self._suffix == ".mcap":
            return read_mcap_records(place, wanted, salvage)
        return read_sqlite_records(place, wanted, salvage)


def _packed_in(message: RecordedMessage) -> Packed | None:
    if message.data[:4] != _ZSTD_MAGIC:
        return None
    try:
        size = get_frame_info(message.data[:_ZSTD_HEAD_BYTES]).decompressed_size
    except ZstdError:
        size = None
    max_bytes = MAX_UNPACKED_BYTES if size is None else min(size, MAX_UNPACKED_BYTES)
    return Packed(message.data, "zstd", max_bytes)
