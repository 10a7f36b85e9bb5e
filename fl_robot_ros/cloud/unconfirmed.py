"""Messages that were given to robots and not confirmed yet.

The SuperLink gives a message away once, with the reply to a poll. Where the connection breaks
under that reply, the robot never hears of the message, and polls again. Flower's robots confirm a
message before their next poll.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

# A message that a robot cannot read would come back for ever.
_MAX_TIMES = 3
_MAX_ROBOTS = 10_000


@dataclass
class _Given:
    poll: bytes
    reply: bytes
    times: int = 1


class Unconfirmed:
    """The last message of each robot, until it is confirmed. Belongs to one thread."""

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._given: OrderedDict[bytes, _Given] = OrderedDict()

    def keep(self, robot: bytes, poll: bytes, reply: bytes) -> None:
        """Keep the reply to a poll, which has a message.

        Args:
            robot: The robot's public key.
            poll: The body of the poll, which holds the number of the robot's connection.
            reply: The body of the reply.
        """
        self._given[robot] = _Given(poll, reply)
        self._given.move_to_end(robot)
        if len(self._given) > _MAX_ROBOTS:
            self._given.popitem(last=False)

    def again(self, robot: bytes, poll: bytes) -> bytes | None:
        """Return the reply to an earlier poll that the robot did not confirm, None without one."""
        given = self._given.get(robot)
        if given is None or given.poll != poll or given.times >= _MAX_TIMES:
            return None
        given.times += 1
        return given.reply

    def confirm(self, robot: bytes) -> None:
        """Forget a message that has reached its robot."""
        self._given.pop(robot, None)

    def clear(self) -> None:
        """Forget all: there is another SuperLink."""
        self._given.clear()
