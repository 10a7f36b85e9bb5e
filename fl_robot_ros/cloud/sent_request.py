"""A request to robots and their replies, through Flower's public Grid.

`Grid.send_and_receive` polls every 3 s and blocks until the last reply. A `SentRequest` leaves the
caller free to send the next one, and polls more often while replies come quickly.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

_POLL_SHARE = 0.05
_MIN_POLL_SEC = 0.1
_MAX_POLL_SEC = 1.0


class SentRequest:
    """The same request to several robots. A robot handles requests in the order of sending."""

    def __init__(
        self,
        grid: Grid,
        content: RecordDict,
        message_type: str,
        node_ids: Sequence[int],
        *,
        server_round: int,
        timeout_sec: float,
    ) -> None:
        """Send the request.

        Args:
            grid: Flower's Grid.
            content: The content of the messages.
            message_type: `train`, `evaluate` or `query`.
            node_ids: Flower's numbers of the robots.
            server_round: Number of the round.
            timeout_sec: How long to wait for replies, from now on.
        """
        self.node_ids = tuple(node_ids)
        self._grid = grid
        self._sent_at = time.monotonic()
        self._timeout_sec = timeout_sec
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
        self._waiting = {
            message_id: node_id
            for message_id, node_id in zip(grid.push_messages(messages), node_ids, strict=False)
            if message_id
        }

    def replies(self) -> dict[int, Message]:
        """Wait for the replies; to be called once.

        Returns:
            The replies, errors among them, by Flower's number of the robot. A robot that does not
            reply in time is missing; for one whose heartbeat stops Flower replies with an error.
        """
        waiting_since = time.monotonic()
        replies: dict[int, Message] = {}
        while self._waiting:
            for reply in self._grid.pull_messages(set(self._waiting)):
                # The sender in a reply is a robot's claim; the id of the request is the server's.
                node_id = self._waiting.pop(reply.metadata.reply_to_message_id, None)
                if node_id is not None:
                    replies[node_id] = reply
            now = time.monotonic()
            if now - self._sent_at >= self._timeout_sec:
                break
            if self._waiting:
                pause = (now - waiting_since) * _POLL_SHARE
                time.sleep(min(max(pause, _MIN_POLL_SEC), _MAX_POLL_SEC))
        return replies
