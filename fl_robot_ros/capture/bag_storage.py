"""One storage file of a bag: by rosbags while it is whole, record by record where it is not."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from rosbags.interfaces import Connection, ConnectionExtRosbag2
from rosbags.rosbag1 import Reader as Ros1Reader
from rosbags.rosbag2 import Reader as Ros2Reader

from fl_robot_ros.capture.bag_files import TopicCounts
from fl_robot_ros.capture.mcap_records import read_mcap_records
from fl_robot_ros.capture.recorded_message import RecordedMessage, Salvage, Wanted
from fl_robot_ros.capture.sqlite_records import has_unmerged_log, read_sqlite_records

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdError, decompress
else:
    from backports.zstd import ZstdError, decompress

# Where messages are compressed one by one; serialized ROS messages never begin like this.
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class StorageFile:
    """One .mcap, .db3 or .bag file.

    Each file is opened by itself, not through its folder's metadata: so the damage of one file
    leaves the others readable, and metadata that disagrees with its files (rosbags reads nothing
    from such a bag, without a word) does not matter.

    Attributes:
        name: Name of the file as it lies in the bag.
        salvage: Is told what was lost.
        is_ros1: Whether its messages are in the serialization of ROS 1.
        topics: Number of messages by topic and type; None where only reading it all would tell.
    """

    def __init__(self, path: Path, name: str, salvage: Salvage) -> None:
        self.name = name
        self.salvage = salvage
        self.is_ros1 = path.suffix == ".bag"
        self._path = path
        self._trouble = ""
        self.topics = self._list_topics()

    def has(self, wanted: Wanted) -> bool:
        """Say whether the file has a wanted message; may have to read a damaged file.

        Raises:
            OSError: The file cannot be read.
        """
        if self.topics is not None:
            return any(wanted(*topic) for topic in self.topics)
        return next(self._salvaged(wanted, Salvage()), None) is not None

    def messages(self, wanted: Wanted) -> Iterator[RecordedMessage]:
        """Yield the wanted messages, each once.

        Raises:
            OSError: The file cannot be read.
        """
        seen: set[tuple[str, int]] = set()
        if self.topics is not None:
            try:
                for message in self._by_rosbags(wanted):
                    seen.add((message.topic, message.recorded_ns))
                    yield message
                return
            except Exception as error:
                # rosbags trusts the file: damaged ones end in errors of any kind.
                self._trouble = f"{type(error).__name__}: {error}"[:200]
        for message in self._salvaged(wanted, self.salvage):
            if (message.topic, message.recorded_ns) not in seen:
                yield message

    def _list_topics(self) -> TopicCounts | None:
        if self._path.suffix == ".db3" and has_unmerged_log(self._path):
            # rosbags would leave out what is in the log.
            return None
        try:
            with self._reader() as reader:
                counts: Counter[tuple[str, str]] = Counter()
                for connection in reader.connections:
                    counts[connection.topic, connection.msgtype] += connection.msgcount
                return dict(counts)
        except Exception as error:
            # rosbags trusts the file: damaged ones end in errors of any kind.
            self._trouble = f"{type(error).__name__}: {error}"[:200]
            return None

    def _reader(self) -> Ros1Reader | Ros2Reader:
        return Ros1Reader(self._path) if self.is_ros1 else Ros2Reader(self._path)

    def _by_rosbags(self, wanted: Wanted) -> Iterator[RecordedMessage]:
        with self._reader() as reader:
            connections = [
                connection
                for connection in reader.connections
                if wanted(connection.topic, connection.msgtype) and _is_readable(connection)
            ]
            # For rosbags, no connections mean all.
            for connection, time_ns, data in reader.messages(connections) if connections else ():
                yield RecordedMessage(
                    connection.topic, connection.msgtype, time_ns, _unpacked_message(data)
                )

    def _salvaged(self, wanted: Wanted, salvage: Salvage) -> Iterator[RecordedMessage]:
        if self.is_ros1:
            salvage.note(f"it cannot be read ({self._trouble}); `rosbag reindex` may help")
            return
        read = read_mcap_records if self._path.suffix == ".mcap" else read_sqlite_records
        for message in read(self._path, wanted, salvage):
            yield message._replace(data=_unpacked_message(message.data))


def _is_readable(connection: Connection) -> bool:
    ext = connection.ext
    return not isinstance(ext, ConnectionExtRosbag2) or ext.serialization_format == "cdr"


def _unpacked_message(data: bytes) -> bytes:
    if not data.startswith(_ZSTD_MAGIC):
        return data
    try:
        return decompress(data)
    except ZstdError:
        # Left as it is, it is counted as a broken message.
        return data
