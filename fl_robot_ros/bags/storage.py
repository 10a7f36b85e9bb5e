"""What every storage of a bag offers, whatever its format."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from fl_robot_ros.bags.bag_topic import Topic, TopicCounts, Wanted

# rosbag2 writes the highest of 64 bits where it knows no time.
_TIME_LIMIT_NS = (1 << 63) - 1


class RecordedMessage(NamedTuple):
    """One message of a bag, still serialized.

    Attributes:
        topic: Its topic.
        recorded_ns: When it was recorded, in ns.
        data: Its serialized content; a view only into memory of at most four times its size.
        is_ros1: Whether it is serialized as in ROS 1, not as CDR.
    """

    topic: Topic
    recorded_ns: int
    data: bytes | memoryview
    is_ros1: bool = False


class FileSummary(NamedTuple):
    """What a file of a bag says of itself without being read as a whole.

    Attributes:
        topics: Number of messages by topic; None where it does not say.
        start_ns: When its first message was recorded, in ns; None where it does not say.
    """

    topics: TopicCounts | None = None
    start_ns: int | None = None


class Storage(Protocol):
    """One file of a bag, whole or damaged: each format has a class."""

    def summary(self) -> FileSummary:
        """Return what the file says of itself; nothing where it is damaged.

        Raises:
            OSError: The file cannot be read.
        """
        ...

    def messages(self, wanted: Wanted, salvage: Salvage) -> Iterator[RecordedMessage]:
        """Yield the wanted messages, as far as the file is readable, in the order of recording.

        Args:
            wanted: Chooses messages by their topic.
            salvage: Is told what was lost.

        Raises:
            OSError: The file cannot be read.
        """
        ...


def is_time(time_ns: int) -> bool:
    """Say whether a number of ns can be a time of recording."""
    return 0 <= time_ns < _TIME_LIMIT_NS


class Salvage:
    """What was lost while a damaged file was read.

    Attributes:
        skipped_bytes: Bytes of the file that are no records.
    """

    def __init__(self) -> None:
        self.skipped_bytes = 0
        self._first = ""

    @property
    def damage(self) -> str:
        """One sentence, "" while nothing is known to be lost."""
        if not self.skipped_bytes:
            return self._first
        return f"{self._first}; {self.skipped_bytes} bytes were skipped".lstrip("; ")

    def note(self, damage: str) -> None:
        """Keep the first damage, from which later ones mostly follow."""
        self._first = self._first or damage
