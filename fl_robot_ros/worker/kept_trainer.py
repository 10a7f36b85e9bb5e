"""The trainer that a worker's process keeps from one run to the next."""

from __future__ import annotations

import gc
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fl_robot_ros.learning.trainer import Trainer


class KeptTrainer:
    """The newest trainer. To build and trace one takes longer than a small round."""

    def __init__(self) -> None:
        """Keep none yet."""
        self._key: Hashable = None
        self._trainer: Trainer | None = None

    def get(self, key: Hashable, build: Callable[[], Trainer]) -> Trainer:
        """Return the trainer of a key; the kept one if its key is equal.

        Args:
            key: All that a trainer is built from.
            build: Builds one.
        """
        if self._trainer is None or self._key != key:
            self._trainer = None
            gc.collect()  # the memory of one trainer before that of the other
            self._trainer, self._key = build(), key
        return self._trainer
