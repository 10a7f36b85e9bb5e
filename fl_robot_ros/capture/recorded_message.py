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
        data: Its serialized content.
    """

    topic: str
    message_type: str
    recorded_ns: int
    data: bytes


# Says by topic and type whether a message is wanted.
Wanted = Callable[[str, str], bool]


class Salvage:
    """What went wrong while a damaged file was read.

    Attributes:
        damage: One sentence, "" while nothing is known to be lost.
    """

    def __init__(self) -> None:
        self.damage = ""

    def note(self, damage: str) -> None:
        """Keep the first damage; what follows from it is of less interest."""
        self.damage = self.damage or damage
