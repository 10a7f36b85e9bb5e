"""Messages as they lie in a bag, before anybody has looked inside them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

# Names of topics and types that are longer are damaged, or meant to fill the memory.
MAX_NAME_BYTES = 4096

# rosbag2 writes the highest of 64 bits where it knows no time.
_TIME_LIMIT_NS = (1 << 63) - 1
CDR = "cdr"
_AS = " as "
_SHOWN_CHARACTERS = 32
# A type as ROS 1, converters and early ROS 2 name it, sensor_msgs/Image, and as DDS does,
# sensor_msgs::msg::dds_::Image_.
_SHORT_NAME = re.compile(r"([A-Za-z]\w*)/([A-Za-z]\w*)")
_DDS_NAME = re.compile(r"([A-Za-z]\w*)::msg::dds_::([A-Za-z]\w*)_")


class RecordedMessage(NamedTuple):
    """One message of a bag.

    Attributes:
        topic: Name of its topic.
        message_type: Its type, for example "sensor_msgs/msg/Image".
        recorded_ns: When it was recorded, in ns.
        data: Its serialized content; a view only into memory of at most four times
            its size.
        is_ros1: Whether it is in the serialization of ROS 1, not CDR.
    """

    topic: str
    message_type: str
    recorded_ns: int
    data: bytes | memoryview
    is_ros1: bool = False


# Says by topic and type whether a message is wanted.
Wanted = Callable[[str, str], bool]
# Number of messages by topic and message type.
TopicCounts = dict[tuple[str, str], int]


class FileSummary(NamedTuple):
    """What a file of a bag says of itself without being read as a whole.

    Attributes:
        topics: Number of messages by topic and type; None where it does not say.
        start_ns: When its first message was recorded, in ns; None where it does not say.
    """

    topics: TopicCounts | None = None
    start_ns: int | None = None


def ros2_type(message_type: str) -> str:
    """Return the name of a message type as ROS 2 writes it, for example sensor_msgs/msg/Image."""
    match = _SHORT_NAME.fullmatch(message_type) or _DDS_NAME.fullmatch(message_type)
    return f"{match[1]}/msg/{match[2]}" if match else message_type


def type_as(message_type: str, serialization: str) -> str:
    """Return the type of a topic, which no topic has whose messages cannot be read.

    Args:
        message_type: Its type, for example "sensor_msgs/msg/Image" or "sensor_msgs/Image".
        serialization: How its messages are serialized; "cdr" can be read.
    """
    name = ros2_type(message_type)
    return name if serialization == CDR else f"{name}{_AS}'{serialization[:_SHOWN_CHARACTERS]}'"


def bare_type(message_type: str) -> str:
    """Return a type that `type_as` returned, without its serialization."""
    return message_type.partition(_AS)[0]


def is_time(time_ns: int) -> bool:
    """Say whether a number of ns can be a time of recording."""
    return 0 <= time_ns < _TIME_LIMIT_NS


class DamagedError(Exception):
    """A part of a bag does not hold what it should; what follows it may be readable."""


class Salvage:
    """What went wrong while a damaged file was read.

    Attributes:
        skipped_bytes: How much of the file nothing could be made of.
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
        """Keep the first damage; what follows from it is of less interest."""
        self._first = self._first or damage
