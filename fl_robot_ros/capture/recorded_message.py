"""Messages as they lie in a bag, before anybody has looked inside them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class RecordedMessage(NamedTuple):
    """One message of a bag.

    Attributes:
        topic: Name of its topic.
        message_type: Its type, for example "sensor_msgs/msg/Image".
        recorded_ns: When it was recorded, in ns.
        data: Its serialized content; a view only into memory of at most four times
            its size.
    """

    topic: str
    message_type: str
    recorded_ns: int
    data: bytes | memoryview


# Says by topic and type whether a message is wanted.
Wanted = Callable[[str, str], bool]
# Number of messages by topic and message type.
TopicCounts = dict[tuple[str, str], int]


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
