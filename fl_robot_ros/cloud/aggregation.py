"""From the updates of a round to the next global model.

Robots send weights. What a strategy of Flower gets are the differences to the global model: Krum's
distances between them do not drown in the weights' own size, and momentum needs no weights of
before. A strategy is made anew in every round, for the number of updates that there are; all that
lasts is in the `GlobalModel`, and so in its checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace

import numpy as np
from flwr.app import Message
from flwr.serverapp.strategy import (
    Bulyan,
    FedAvg,
    FedAvgM,
    FedMedian,
    FedTrimmedAvg,
    Krum,
    MultiKrum,
)
from numpy.typing import NDArray

from fl_robot_ros.cloud.checkpoint import GlobalModel
from fl_robot_ros.cloud.update_check import Reply
from fl_robot_ros.cloud.update_comparison import Update, UpdateComparison, usual_length
from fl_robot_ros.config import ServerSettings, updates_needed
from fl_robot_ros.errors import ModelError
from fl_robot_ros.federation import protocol
from fl_robot_ros.learning.weights import check_weights


class Aggregation:
    """Compares the updates of a round, and makes one model of those that count."""

    def __init__(
        self, settings: ServerSettings, is_trainable: NDArray[np.bool_] | None = None
    ) -> None:
        """Take the settings of a run.

        Args:
            settings: The server's settings.
            is_trainable: Of each weight, whether training moves it, (number of weights,). Others,
                such as the statistics of batch normalization, take no momentum. None: all do.
        """
        self._settings = settings
        self._is_trainable = is_trainable
        self._comparison = UpdateComparison(settings, is_trainable)

    def compare(self, model: GlobalModel, replies: Sequence[Reply]) -> list[Reply]:
        """Return the replies of a round, those refused whose update is unlike the others.

        Args:
            model: The model that the robots trained from.
            replies: All replies; those that do not count stay as they are.
        """
        return self._comparison.refuse(model, replies)

    def aggregate(self, model: GlobalModel, accepted: Sequence[Reply]) -> GlobalModel:
        """Return the model after a round, with a state for the next one.

        Args:
            model: The model that the robots trained from.
            accepted: The replies that count.

        Raises:
            ModelError: The strategy makes nothing of these updates, or what it makes cannot be
                weights of this model.
        """
        updates = self._comparison.limited(model, accepted)
        momentum: NDArray[np.float32] | None = None
        try:
            strategy = self._strategy(len(updates))
            if isinstance(strategy, FedAvgM):
                strategy.current_arrays = protocol.to_arrays(np.zeros_like(model.weights))
                if model.momentum is not None:
                    strategy.momentum_vector = [model.momentum]
            with np.errstate(all="ignore"):  # weights that are no numbers are found below
                step, _ = strategy.aggregate_train(model.server_round, [*map(_message, updates)])
                if step is None:
                    raise ModelError(f"it makes nothing of {len(updates)} updates")
                weights = model.weights + step[protocol.WEIGHTS].numpy().astype(np.float32)
            if isinstance(strategy, FedAvgM) and strategy.momentum_vector is not None:
                momentum = self._lasting(strategy.momentum_vector[0])
        except Exception as error:  # a strategy raises what it likes
            raise ModelError(f"{self._settings.strategy} failed: {error}") from error
        return replace(
            model,
            weights=check_weights(weights, model.weights.size),
            momentum=momentum,
            usual_length=usual_length(updates) or model.usual_length,
        )

    def _strategy(self, num_updates: int) -> FedAvg:
        """Return the strategy for a number of updates.

        Where they are fewer than `max_malicious` asks for, it provides for fewer malicious ones.
        """
        settings = self._settings
        malicious = settings.max_malicious
        while malicious and num_updates < updates_needed(settings.strategy, malicious):
            malicious -= 1
        key = protocol.NUM_EXAMPLES
        if settings.strategy == "FedAvgM":
            return FedAvgM(weighted_by_key=key, server_momentum=settings.server_momentum)
        if settings.strategy == "FedMedian":
            return FedMedian(weighted_by_key=key)
        if settings.strategy == "FedTrimmedAvg":
            # It leaves out the whole part of beta x updates at both ends.
            return FedTrimmedAvg(weighted_by_key=key, beta=(malicious + 0.25) / num_updates)
        if settings.strategy == "Krum":
            return Krum(weighted_by_key=key, num_malicious_nodes=malicious)
        if settings.strategy == "MultiKrum":
            return MultiKrum(
                weighted_by_key=key,
                num_malicious_nodes=malicious,
                num_nodes_to_select=num_updates - malicious,
            )
        if settings.strategy == "Bulyan":
            return Bulyan(weighted_by_key=key, num_malicious_nodes=malicious)
        return FedAvg(weighted_by_key=key)

    def _lasting(self, momentum: NDArray[np.generic]) -> NDArray[np.float32]:
        """Return the part of the momentum that goes into the next round.

        What training does not move has none: a variance would go on falling, below 0.
        """
        lasting = np.array(momentum, dtype=np.float32)
        if self._is_trainable is not None:
            lasting[~self._is_trainable] = 0.0
        return lasting


def _message(update: Update) -> Message:
    """Return a robot's reply with its update alone: strategies expect the same from each."""
    message = copy(update.message)
    message.content = protocol.pack_update(update.difference, update.images)
    return message
