"""A request to robots, and the wait for their replies.

`Grid.send_and_receive` polls every 3 s and blocks until the last reply. A `SentRequest` leaves the
caller free to send the next one, polls more often while replies come quickly, and does not let one
robot hold up the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from fl_robot_ros.cloud.reply_reader import Read

_POLL_SHARE = 0.05
_MIN_POLL_SEC = 0.1
_MAX_POLL_SEC = 1.0


class Reader(Protocol):
    """Reads replies: `ReplyReader`, or a double in a test."""

    def read(self, request_ids: Collection[str]) -> list[Read]:
        """Return the replies that have come."""

    def give_up(self, request_ids: Collection[str], *, is_wanted: bool = False) -> None:
        """Wait no longer for some replies, which may be wanted nevertheless."""


@dataclass(frozen=True)
class Patience:
    """When to stop waiting.

    Attributes:
        timeout_sec: From the sending, in s.
        enough: So many replies end the wait.
        quorum: From so many replies on, further ones have a grace.
        grace: The grace, as a multiple of the time that the last reply took; 0: `timeout_sec`.
        min_grace_sec: Shortest grace, in s.
    """

    timeout_sec: float
    enough: int
    quorum: int
    grace: float
    min_grace_sec: float


@dataclass
class Replies:
    """What came of a request.

    Attributes:
        messages: The replies, errors among them, by Flower's number of the robot.
        silent: Robots that did not reply, and why.
        outrun: Robots that were not waited for, since enough others had replied.
        late: Replies to earlier requests, which nobody waited for any more.
        left: Requests that are not waited for any more.
    """

    messages: dict[int, Message] = field(default_factory=dict)
    silent: dict[int, str] = field(default_factory=dict)
    outrun: set[int] = field(default_factory=set)
    late: list[Read] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


class SentRequest:
    """The same request to several robots. A robot handles requests in the order of sending."""

    def __init__(
        self,
        grid: Grid,
        reader: Reader,
        content: RecordDict,
        message_type: str,
        node_ids: Sequence[int],
        *,
        server_round: int,
        timeout_sec: float,
        wants_late: bool = False,
    ) -> None:
        """Send the request.

        Args:
            grid: Flower's Grid.
            reader: Reads the replies.
            content: The content of the messages.
            message_type: `train`, `evaluate` or `query`.
            node_ids: Flower's numbers of the robots.
            server_round: Number of the round.
            timeout_sec: How long robots may reply, from now on.
            wants_late: Whether replies are read that come when nobody waits for them any more.
        """
        self.node_ids = tuple(node_ids)
        self._reader = reader
        self._wants_late = wants_late
        self._sent_at = time.monotonic()
        messages = [
            Message(
                content,
                dst_node_id=node_id,
                message_type=message_type,
                ttl=timeout_sec,
                group_id=str(server_round),
            )
            for node_id in node_ids
        ]
        pushed = grid.push_messages(messages)
        self.sent_to = {
            message_id: node_id
            for message_id, node_id in zip(pushed, node_ids, strict=False)
            if message_id
        }

    def replies(self, patience: Patience, gone: Callable[[bool], Collection[int]]) -> Replies:
        """Wait for the replies; to be called once.

        Args:
            patience: When to stop.
            gone: Returns the robots that have left, and will not reply; takes whether the round
                can do without them.
        """
        waiting = dict(self.sent_to)
        found = Replies()
        waiting_since = time.monotonic()
        last_reply_at = self._sent_at
        replied = 0
        while waiting:
            for one in self._reader.read(waiting):
                # The sender in a reply is a robot's claim; the id of the request is the server's.
                node_id = waiting.pop(one.request_id, None)
                if node_id is None:
                    found.late.append(one)
                elif one.message is None:
                    found.silent[node_id] = one.reason
                else:
                    found.messages[node_id] = one.message
                    last_reply_at = time.monotonic()
            now = time.monotonic()
            replied = sum(not message.has_error() for message in found.messages.values())
            if not waiting or replied >= patience.enough:
                break
            if now - self._sent_at >= patience.timeout_sec:
                break
            grace_sec = max(
                patience.grace * (last_reply_at - self._sent_at), patience.min_grace_sec
            )
            is_quorum = replied >= patience.quorum
            if is_quorum and patience.grace > 0 and now - last_reply_at >= grace_sec:
                break
            left = set(gone(is_quorum))
            for message_id, node_id in list(waiting.items()):
                if node_id in left:
                    found.left.append(message_id)
                    del waiting[message_id]
                    found.silent[node_id] = "its connection was lost"
            if waiting:
                pause = (now - waiting_since) * _POLL_SHARE
                time.sleep(min(max(pause, _MIN_POLL_SEC), _MAX_POLL_SEC))
        found.left += waiting
        self._reader.give_up(found.left, is_wanted=self._wants_late)
        if waiting and replied >= patience.enough:
            found.outrun.update(waiting.values())
        else:
            found.silent |= dict.fromkeys(waiting.values(), "no reply in time")
        return found
