"""The interface of storage files, whatever their format."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from fl_robot_ros.bags.bag_topic import Topic, TopicCounts, Wanted

# rosbag2 writes the largest 64-bit number for an unknown time.
_TIME_LIMIT_NS = (1 << 63) - 1


class RecordedMessage(NamedTuple):
    """One message of a bag, still serialized.

    Attributes:
        topic: Its topic.
        recorded_ns: When it was recorded, in ns.
        data: Its serialized content; a view keeps at most four times its size in memory.
        is_ros1: Whether it is in the serialization of ROS 1 instead of CDR.
    """

    topic: Topic
    recorded_ns: int
    data: bytes | memoryview
    is_ros1: bool = False


class FileSummary(NamedTuple):
    """What a storage file tells without being read as a whole.

    Attributes:
        topics: Number of messages by topic; None: unknown.
        start_ns: Time of its first message in ns; None: unknown.
    """

    topics: TopicCounts | None = None
    start_ns: int | None = None


class Storage(Protocol):
    """One storage file, whole or damaged; each format has a class."""

    def summary(self) -> FileSummary:
        """Return the summary of the file, an empty one if it is damaged.

        Raises:
            OSError: The file cannot be read.
        """
        ...

    def messages(self, wanted: Wanted, salvage: Salvage) -> Iterator[RecordedMessage]:
        """Yield the wanted messages in the order of recording, as far as they are readable.

        Args:
            wanted: Chooses topics.
            salvage: Collects the losses.

        Raises:
            OSError: The file cannot be read.
        """
        ...


def is_time(time_ns: int) -> bool:
    """Say whether a number of ns can be a time of recording."""
    return 0 <= time_ns < _TIME_LIMIT_NS


class Salvage:
    """Losses of a damaged file.

    Attributes:
        skipped_bytes: Bytes of the file that are no records.
    """

    def __init__(self) -> None:
        self.skipped_bytes = 0
        self._first = ""

    @property
    def damage(self) -> str:
        """The losses in one line, "" for none so far."""
        if not self.skipped_bytes:
            return self._first
        return f"{self._first}; {self.skipped_bytes} bytes were skipped".lstrip("; ")

    def note(self, damage: str) -> None:
        """Keep the first damage, from which later ones mostly follow."""
        self._first = self._first or damage
