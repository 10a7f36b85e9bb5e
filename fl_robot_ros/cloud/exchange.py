"""Sending messages to robots and waiting for their answers, through Flower's public Grid.

`Grid.send_and_receive` looks for answers every 3 s, and waits for all of them before the next
message can go out; here the waiting is apart from the sending, and looks sooner while answers are
quick.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

_POLL_SHARE = 0.05
_MIN_POLL_SEC = 0.1
_MAX_POLL_SEC = 1.0


class Question:
    """One content sent to several robots, who answer in their own time.

    A robot takes messages in the order in which they were sent.
    """

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
        """Send it.

        Args:
            grid: Flower's Grid.
            content: What to send.
            message_type: `train`, `evaluate` or `query`.
            node_ids: Flower's numbers of the robots.
            server_round: Number of the round.
            timeout_sec: How long to wait for answers, from now on.
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

    def answers(self) -> dict[int, Message]:
        """Wait for the answers; to be called once.

        Returns:
            The answers, errors among them, by Flower's number of the robot. Flower answers by
            itself for a robot whose heartbeat stops; whoever is missing did not answer in time.
        """
        waiting_since = time.monotonic()
        answers: dict[int, Message] = {}
        while self._waiting:
            for answer in self._grid.pull_messages(set(self._waiting)):
                # What an answer says of its sender is its claim; the id it answers is ours.
                node_id = self._waiting.pop(answer.metadata.reply_to_message_id, None)
                if node_id is not None:
                    answers[node_id] = answer
            now = time.monotonic()
            if now - self._sent_at >= self._timeout_sec:
                break
            if self._waiting:
                pause = (now - waiting_since) * _POLL_SHARE
                time.sleep(min(max(pause, _MIN_POLL_SEC), _MAX_POLL_SEC))
        return answers
