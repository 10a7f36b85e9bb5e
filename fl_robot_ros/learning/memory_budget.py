"""The memory that training a model takes, known before the model takes any."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import keras

from fl_robot_ros.errors import ModelError

_BYTES_PER_NUMBER = 4
# Of each weight: the model's, as received, packed and unpacked, its gradient, the two moments of
# Adam and their first values, and the packed reply.
_COPIES_OF_WEIGHTS = 9
# A layer's input and output while a batch passes through it.
_TENSORS_IN_EVALUATION = 2


@dataclass(frozen=True)
class MemoryBudget:
    """What a model may take.

    Attributes:
        limit_mb: Memory that is left for the model, in MB.
        batch_size: Images in a batch of training.
        evaluation_batch_size: Images in a batch of evaluation.
    """

    limit_mb: float
    batch_size: int
    evaluation_batch_size: int

    def check(self, model: keras.Model) -> None:
        """Check a model that need not have memory for its weights yet.

        Raises:
            ModelError: Training it would take more than the limit.
        """
        needed_mb = self.needed_mb(model)
        if needed_mb > self.limit_mb:
            raise ModelError(
                f"the model with {model.count_params():,} parameters would need about "
                f"{needed_mb:,.0f} MB to train with batches of {self.batch_size}; "
                f"worker_memory_limit_mb leaves {max(self.limit_mb, 0.0):,.0f} MB"
            )

    def needed_mb(self, model: keras.Model) -> float:
        """Return the memory in MB: weights and their copies, and the outputs of all layers.

        Training keeps the output of each layer for the gradients, evaluation one at a time.
        """
        sizes = list(_output_sizes(model))
        training = self.batch_size * sum(sizes)
        evaluation = self.evaluation_batch_size * _TENSORS_IN_EVALUATION * max(sizes, default=0)
        weights = _COPIES_OF_WEIGHTS * int(model.count_params())
        return (weights + max(training, evaluation)) * _BYTES_PER_NUMBER / 1e6


def _output_sizes(model: keras.Model) -> Iterator[int]:
    """Yield the numbers in each output of each layer for one image."""
    function = getattr(model, "_functional", None) or model
    for nodes in getattr(function, "_nodes_by_depth", {}).values():
        for node in nodes:
            if isinstance(node.operation, keras.Model):
                yield from _output_sizes(node.operation)
            else:
                for tensor in node.outputs:
                    yield math.prod(int(size or 1) for size in tensor.shape)
