"""Training and evaluation of one model, again and again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from fl_robot_ros.errors import ModelError, SnapshotError
from fl_robot_ros.images.preprocessing import Preprocessing
from fl_robot_ros.learning.architecture import model_from_architecture
from fl_robot_ros.learning.calibrated_loss import CalibratedCrossEntropy
from fl_robot_ros.learning.memory_budget import MemoryBudget
from fl_robot_ros.learning.training_data import LabelledImages, Wait, no_wait
from fl_robot_ros.learning.weights import pack_weights, set_packed_weights

EVALUATION_BATCH_SIZE = 256

Progress = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True)
class EvaluationResult:
    """The result of evaluation.

    Attributes:
        loss: Mean loss.
        accuracy: Share of images with the right class, 0 to 1.
        num_examples: Number of images.
        seconds: Wall time.
    """

    loss: float
    accuracy: float
    num_examples: int
    seconds: float


@dataclass(frozen=True)
class TrainingResult(EvaluationResult):
    """The result of training; loss and accuracy are those of the last epoch.

    The loss is the one that was trained with.

    Attributes:
        weights: float32 (number of weights,), finite.
    """

    weights: NDArray[np.float32]


class Trainer:
    """One model, compiled once, for training and evaluation from given weights.

    Each call resets the optimizer's moments and the dropout seeds, so that a trainer in its tenth
    round gives the results of a new one.

    Attributes:
        model: The model. It is not compiled itself, so that its file needs no code of ours.
    """

    def __init__(
        self,
        architecture: str,
        preprocessing: Preprocessing,
        classes: Sequence[str],
        budget: MemoryBudget | None = None,
        wait: Wait = no_wait,
    ) -> None:
        """Build and compile the model.

        Args:
            architecture: Keras architecture as JSON.
            preprocessing: The model's input.
            classes: Class names in the order of the outputs.
            budget: The memory that the model may take; None: any.
            wait: Called before each batch; what it raises ends training or evaluation.

        Raises:
            ModelError: The architecture is invalid, does not match input and classes, or needs
                too much memory.
        """
        self.model = model_from_architecture(architecture, budget.check if budget else None)
        self._scale = preprocessing.scale
        self._wait = wait
        expected = (None, *preprocessing.input_shape), (None, len(classes))
        shapes = tuple(self.model.input_shape), tuple(self.model.output_shape)
        if shapes != expected:
            raise ModelError(
                f"the model maps {shapes[0]} to {shapes[1]}; expected {expected[0]} to "
                f"{expected[1]} for this input and {len(classes)} classes"
            )
        self._num_classes = len(classes)
        self._loss = CalibratedCrossEntropy(len(classes))
        self._learner = keras.Model(self.model.inputs, self.model.outputs)  # the same layers
        self._learner.compile(
            optimizer=keras.optimizers.Adam(),
            loss=self._loss,
            metrics=["accuracy"],
            jit_compile=False,  # costs more on a CPU than a small model gains
        )
        optimizer = self._learner.optimizer
        optimizer.build(self._learner.trainable_variables)
        self._fresh_optimizer = [variable.numpy() for variable in optimizer.variables]

    def train(
        self,
        weights: NDArray[np.generic],
        data: LabelledImages,
        *,
        epochs: int,
        batch_size: int,
        learning_rate: float,
        seed: int,
        calibrated: bool = False,
        absent_classes: Sequence[int] = (),
        on_epoch: Progress | None = None,
    ) -> TrainingResult:
        """Train from given weights.

        Args:
            weights: float32 (number of weights,), finite.
            data: Images to train on.
            epochs: Passes over the images.
            batch_size: Images in a step.
            learning_rate: Learning rate of Adam.
            seed: Seed of shuffling and dropout.
            calibrated: Whether the loss takes the shares of the classes into account, see
                `CalibratedCrossEntropy`.
            absent_classes: Numbers of the classes that no robot has images of.
            on_epoch: Called after each epoch with its number (from 1) and its metrics.

        Raises:
            ModelError: The weights do not match the model, or are no longer finite.
            SnapshotError: There are no images.
        """
        if not len(data):
            raise SnapshotError("no labelled image of the run's classes to train on")
        start = time.perf_counter()
        set_packed_weights(self.model, weights)
        self._reset(seed, learning_rate)
        self._loss.set_plain()
        if calibrated:
            self._loss.set_class_counts(data.class_counts(self._num_classes), absent_classes)
        callback = _Watch(self._wait, on_epoch)
        generator = np.random.default_rng(seed)
        history: dict[str, list[float]] = {}
        for epoch in range(epochs):
            order = generator.permutation(len(data))
            history = self._learner.fit(
                self._batches(data, order, batch_size),
                initial_epoch=epoch,
                epochs=epoch + 1,
                shuffle=False,
                verbose=0,
                callbacks=[callback],
            ).history
        trained = pack_weights(self.model.get_weights())
        if not np.isfinite(trained).all():
            raise ModelError(
                f"training gave weights that are not finite; try a learning rate below "
                f"{learning_rate:g}"
            )
        return TrainingResult(
            weights=trained,
            loss=float(history["loss"][-1]),
            accuracy=float(history["accuracy"][-1]),
            num_examples=len(data),
            seconds=time.perf_counter() - start,
        )

    def evaluate(self, weights: NDArray[np.generic], data: LabelledImages) -> EvaluationResult:
        """Evaluate given weights.

        Args:
            weights: float32 (number of weights,), finite.
            data: Images to evaluate on.

        Raises:
            ModelError: The weights do not match the model.
            SnapshotError: There are no images.
        """
        if not len(data):
            raise SnapshotError("no labelled image of the run's classes to evaluate on")
        start = time.perf_counter()
        set_packed_weights(self.model, weights)
        batches = self._batches(data, np.arange(len(data)), EVALUATION_BATCH_SIZE)
        self._loss.set_plain()
        metrics = self._learner.evaluate(
            batches, verbose=0, return_dict=True, callbacks=[_Watch(self._wait)]
        )
        return EvaluationResult(
            loss=float(metrics["loss"]),
            accuracy=float(metrics["accuracy"]),
            num_examples=len(data),
            seconds=time.perf_counter() - start,
        )

    def _reset(self, seed: int, learning_rate: float) -> None:
        """Reset the optimizer and the random layers."""
        optimizer = self._learner.optimizer
        for variable, value in zip(optimizer.variables, self._fresh_optimizer, strict=True):
            variable.assign(value)
        optimizer.learning_rate = learning_rate
        states = [path for path in self.model.variables if path.name == "seed_generator_state"]
        for index, state in enumerate(states):
            state.assign(np.array([seed + index, 0], dtype=state.dtype))

    def _batches(
        self, data: LabelledImages, order: NDArray[np.integer[Any]], batch_size: int
    ) -> tf.data.Dataset:
        """Return batches in the given order, scaled to the model's range.

        Images stay 8 bit in memory and become float32 one batch at a time.
        """

        def gather(batch: Any) -> tuple[Any, Any]:
            return data.images[batch], data.labels[batch]

        def scaled(batch: Any) -> tuple[Any, Any]:
            images, labels = tf.numpy_function(
                gather, [batch], [tf.uint8, tf.int32], stateful=False
            )
            images.set_shape((None, *data.images.shape[1:]))
            labels.set_shape((None,))
            return tf.cast(images, tf.float32) * self._scale, labels

        dataset = tf.data.Dataset.from_tensor_slices(order).batch(batch_size)
        return dataset.map(scaled).prefetch(2)


class _Watch(keras.callbacks.Callback):  # type: ignore[misc]
    """Waits between batches, and reports epochs."""

    def __init__(self, wait: Wait, on_epoch: Progress | None = None) -> None:
        super().__init__()
        self._wait = wait
        self._on_epoch = on_epoch

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._wait()

    def on_test_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._wait()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if self._on_epoch is not None:
            self._on_epoch(epoch + 1, {name: float(value) for name, value in (logs or {}).items()})
