"""Updates that come after their round has ended, and count in a later one.

Such an update is the robot's step from an older global model. It joins a later round as the same
step from that round's model, with a weight that falls with the number of rounds between: images x
(1 + rounds) ^ -0.5, as in FedBuff (Nguyen et al., "Federated Learning with Buffered Asynchronous
Aggregation", AISTATS 2022).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace

import numpy as np
from flwr.app import Message, RecordDict
from numpy.typing import NDArray

from fl_robot_ros.cloud.checkpoint import GlobalModel
from fl_robot_ros.cloud.history import History
from fl_robot_ros.cloud.sent_request import Reader
from fl_robot_ros.cloud.update_check import Reply
from fl_robot_ros.errors import ModelError, ProtocolError
from fl_robot_ros.federation import protocol
from fl_robot_ros.learning.weights import check_weights

# Steps from older models lead elsewhere.
MOST_ROUNDS = 2
# Those that take the mean. Others compare updates that begin at one model.
STRATEGIES = frozenset(("FedAvg", "FedAvgM"))
_TRAIN = "train"
TOO_LATE = "its reply came too late to count"


# Returns the replies of a round, those refused whose update is unlike the others.
Compare = Callable[[GlobalModel, Sequence[Reply]], list[Reply]]


class LateReplies:
    """The updates that nobody waits for any more, until they come and a round takes them."""

    def __init__(
        self, run: int, history: History, reader: Reader, load: Callable[[int], GlobalModel]
    ) -> None:
        """Expect none.

        Args:
            run: Number of the run.
            history: Takes replies and lines for the operator.
            reader: Reads the robots' replies.
            load: Returns the checkpoint of a round; raises a ModelError where it cannot be read.
        """
        self._run = run
        self._history = history
        self._reader = reader
        self._load = load
        self._rounds: dict[str, int] = {}
        self._waiting: list[tuple[int, Reply]] = []

    def expect(self, server_round: int, request_ids: Sequence[str]) -> None:
        """Remember requests of a round whose replies may come late."""
        self._rounds |= dict.fromkeys(request_ids, server_round)

    def give_up(self, first_round: int | None = None) -> None:
        """Expect replies to earlier rounds than the first one no longer; None: to no round."""
        old = [
            key
            for key, number in self._rounds.items()
            if first_round is None or number < first_round
        ]
        for key in old:
            del self._rounds[key]
        self._reader.give_up(old)

    def add(self, request_id: str, server_round: int, reply: Reply) -> None:
        """Take a reply that came late; name its robot if it is no sound update.

        Args:
            request_id: The message that it replies to.
            server_round: The round of that message.
            reply: The reply.
        """
        self._rounds.pop(request_id, None)
        if reply.accepted:
            self._waiting.append((server_round, reply))
        else:
            # Flower makes up an error for a robot that has left.
            is_update = reply.message is not None and not reply.message.has_error()
            reason = reply.reason if is_update else TOO_LATE
            self._history.add_event(f"round {server_round}: {reply.robot}: {reason}")

    def updates(
        self, model: GlobalModel, trained: Sequence[Reply], compare: Compare
    ) -> list[Reply]:
        """Return the late updates that count in a round, as if they began at its model.

        Args:
            model: What the robots of the round trained from; its number is that of the round.
            trained: The round's own updates.
            compare: Compares updates with each other.
        """
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return []
        moved = [self._moved(number, reply, model) for number, reply in waiting]
        compared = compare(model, [*trained, *moved])[len(trained) :]
        counted = []
        for (number, _), reply in zip(waiting, compared, strict=True):
            text = reply.reason
            if reply.accepted:
                weight = (1 + model.server_round - number) ** -0.5
                images = max(round(reply.num_examples * weight), 1)
                counted.append(replace(reply, num_examples=images))
                text = (
                    f"its update came late; it counts in round {model.server_round}, for "
                    f"{weight:.0%} of its images"
                )
            noted = replace(reply, note=text)
            self._history.add_replies(self._run, number, _TRAIN, [noted])
            self._history.add_event(f"round {number}: {reply.robot}: {text}")
        return counted

    def _moved(self, number: int, reply: Reply, model: GlobalModel) -> Reply:
        """Return an update as if it began at a model; with the reason if it cannot count."""
        if not 0 < model.server_round - number <= MOST_ROUNDS or reply.message is None:
            return replace(reply, reason=TOO_LATE)
        try:
            began_at = self._load(number - 1).weights
            update = np.asarray(protocol.unpack_weights(reply.message), np.float32) - began_at
            weights = check_weights(model.weights + update, model.weights.size)
        except (ModelError, ProtocolError) as error:
            return replace(reply, reason=f"{TOO_LATE}: {error}")
        return replace(reply, message=_with_weights(reply.message, weights))


def _with_weights(message: Message, weights: NDArray[np.float32]) -> Message:
    """Return a reply with other weights."""
    moved = copy(message)
    records = {**message.content, protocol.ARRAYS: protocol.to_arrays(weights)}
    moved.content = RecordDict(records)
    return moved
