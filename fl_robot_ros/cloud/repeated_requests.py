"""Replies that robots may not have got, for those that repeat the request.

Two requests must not reach the SuperLink twice. It gives a message away once, with the reply to a
poll; and it knows no reply of a robot any more that was announced and is being read. Where the
connection breaks under the SuperLink's reply, the robot repeats its request, and gets it again.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

# A message that a robot cannot read would come back for ever.
_MAX_TIMES = 5
_MAX_ROBOTS = 10_000


@dataclass
class _Given:
    request: bytes
    reply: bytes
    times: int = 1


class RepeatedRequests:
    """The last reply to one kind of request of each robot. Belongs to one thread."""

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._given: OrderedDict[bytes, _Given] = OrderedDict()

    def keep(self, robot: bytes, request: bytes, reply: bytes) -> None:
        """Keep a reply.

        Args:
            robot: The robot's public key.
            request: The body of the request.
            reply: The body of the reply.
        """
        self._given[robot] = _Given(request, reply)
        self._given.move_to_end(robot)
        if len(self._given) > _MAX_ROBOTS:
            self._given.popitem(last=False)

    def again(self, robot: bytes, request: bytes) -> bytes | None:
        """Return the reply to the same request, None where there is none or it has arrived."""
        given = self._given.get(robot)
        if given is None or given.request != request or given.times >= _MAX_TIMES:
            return None
        given.times += 1
        return given.reply

    def confirm(self, robot: bytes) -> None:
        """Forget a reply that has arrived."""
        self._given.pop(robot, None)

    def clear(self) -> None:
        """Forget all: there is another SuperLink."""
        self._given.clear()
