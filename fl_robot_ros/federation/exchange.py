"""Sending messages to robots and waiting for their answers, through Flower's public Grid.

`Grid.send_and_receive` looks for answers every 3 s; this looks sooner while answers are quick.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

_POLL_SHARE = 0.05
_MIN_POLL_SEC = 0.1
_MAX_POLL_SEC = 1.0


def ask(
    grid: Grid,
    content: RecordDict,
    message_type: str,
    node_ids: Sequence[int],
    *,
    server_round: int,
    timeout_sec: float,
) -> dict[int, Message]:
    """Send one content to several robots and collect the answers.

    Args:
        grid: Flower's Grid.
        content: What to send.
        message_type: `train`, `evaluate` or `query`.
        node_ids: Flower's numbers of the robots.
        server_round: Number of the round.
        timeout_sec: How long to wait.

    Returns:
        The answers, errors among them, by Flower's number of the robot. Flower answers by itself
        for a robot whose heartbeat stops; whoever is missing did not answer in time.
    """
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
    start = time.monotonic()
    sent = grid.push_messages(messages)
    waiting = {
        message_id: node_id
        for message_id, node_id in zip(sent, node_ids, strict=False)
        if message_id
    }
    answers: dict[int, Message] = {}
    while waiting:
        for answer in grid.pull_messages(set(waiting)):
            # What an answer says of its sender is the sender's claim; the id it answers is ours.
            node_id = waiting.pop(answer.metadata.reply_to_message_id, None)
            if node_id is not None:
                answers[node_id] = answer
        waited = time.monotonic() - start
        if waited >= timeout_sec:
            break
        if waiting:
            time.sleep(min(max(waited * _POLL_SHARE, _MIN_POLL_SEC), _MAX_POLL_SEC))
    return answers
