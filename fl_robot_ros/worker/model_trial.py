"""The trial of a delivered model on this robot: what the gate decides by.

What runs later is what is measured: the exported LiteRT file, image by image, with one thread.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.config import INT8_FILE
from fl_robot_ros.delivery.gate import CurrentModel, Trial, Verdict, decide
from fl_robot_ros.delivery.predictor import Predictor
from fl_robot_ros.errors import FlRobotError, ModelError, RunFailedError
from fl_robot_ros.images.preprocessing import Preprocessing
from fl_robot_ros.learning.export import export_int8, export_model, parity
from fl_robot_ros.learning.training_data import LabelledImages, Wait, no_wait
from fl_robot_ros.publication import Publication

if TYPE_CHECKING:
    import keras

# Two models of 0.2 s for an image are tried before the server stops waiting, after 300 s.
MOST_IMAGES = 500
_PARITY_IMAGES = 32
# As many as TensorFlow's guide to post-training quantization asks for.
_CALIBRATION_IMAGES = 200
_MIN_PROBABILITY = 1e-7  # as in Keras' cross-entropy

_logger = logging.getLogger(__name__)

# Returns the outputs, float32 (classes,), for an input, float32 (height, width, channels).
Infer = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True)
class Answers:
    """What one model says of some images.

    Attributes:
        guesses: Numbers of the classes that it names, int64 (N,).
        loss: Mean cross-entropy.
        latency_ms: Median time for one image, in ms.
    """

    guesses: NDArray[np.int64]
    loss: float
    latency_ms: float


@dataclass(frozen=True)
class TrialResult:
    """What came out of a trial.

    Attributes:
        trial: What was measured.
        verdict: The gate's decision.
        loss: Mean cross-entropy of the model that was measured.
        seconds: Wall time.
        metrics: The numbers for the manifest.
    """

    trial: Trial
    verdict: Verdict
    loss: float
    seconds: float
    metrics: dict[str, float]


@dataclass(frozen=True)
class ModelTrial:
    """The images of a trial, and what is asked of a model.

    Attributes:
        classes: Class names of the delivered model.
        preprocessing: Its input.
        train: This robot's training images, for parity and 8-bit ranges.
        holdout: Its held-out images; one or more.
        publication: What the settings ask for.
        wait: Called before each image.
    """

    classes: tuple[str, ...]
    preprocessing: Preprocessing
    train: LabelledImages
    holdout: LabelledImages
    publication: Publication
    wait: Wait = no_wait

    def run(self, model: keras.Model, folder: Path, current: Path | None) -> TrialResult:
        """Export a model, and measure it beside the current one.

        Args:
            model: The delivered model.
            folder: Existing folder for its files.
            current: Folder of the current version; None without one.

        Raises:
            ModelError: The model cannot be exported, or fails.
        """
        start = time.perf_counter()
        chosen = evenly(len(self.holdout), MOST_IMAGES)
        labels = self.holdout.labels[chosen]
        lite = export_model(model, folder)
        difference = parity(model, lite, self._parity_inputs())
        infer: Infer = lite.infer
        small = self._export_int8(model, folder)
        if small is not None and self.publication.is_int8_published:
            infer, small = small, None
        answers = self._ask(infer, chosen)
        trial = Trial(
            self.classes,
            labels,
            answers.guesses == labels,
            difference,
            answers.latency_ms,
            self._ask_current(current, chosen) if current else None,
        )
        verdict = decide(trial, self.publication)
        metrics = {
            "holdout_loss": answers.loss,
            "holdout_accuracy": float(trial.is_right.mean()),
            "holdout_images": float(len(labels)),
            "latency_ms": answers.latency_ms,
        }
        if np.isfinite(difference):
            metrics["parity"] = difference
        if verdict.accuracy_before is not None:
            metrics["holdout_accuracy_before"] = verdict.accuracy_before
        if small is not None:
            guesses = self._ask(small, chosen).guesses
            metrics["int8_accuracy"] = float((guesses == labels).mean())
            metrics["int8_agreement"] = float((guesses == answers.guesses).mean())
        return TrialResult(trial, verdict, answers.loss, time.perf_counter() - start, metrics)

    def _parity_inputs(self) -> NDArray[np.float32]:
        """Return some real images in the model's range, held-out ones first."""
        held_out = self.holdout.images[evenly(len(self.holdout), _PARITY_IMAGES)]
        others = self.train.images[evenly(len(self.train), _PARITY_IMAGES - len(held_out))]
        return self._scaled(np.concatenate([held_out, others]))

    def _scaled(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return images * np.float32(self.preprocessing.scale)

    def _export_int8(self, model: keras.Model, folder: Path) -> Infer | None:
        """Return the int8 model, None without one.

        Raises:
            ModelError: It cannot be made, and is the one that the robot would run.
        """
        if not self.publication.export_int8:
            return None
        images = self.train.images if len(self.train) else self.holdout.images
        images = images[evenly(len(images), _CALIBRATION_IMAGES)]
        try:
            return export_int8(model, folder, images, self.preprocessing.scale).infer
        except ModelError as error:
            if self.publication.is_int8_published:
                raise
            (folder / INT8_FILE).unlink(missing_ok=True)
            _logger.warning("there is no %s: %s", INT8_FILE, error)
            return None

    def _ask(self, infer: Infer, chosen: NDArray[np.intp]) -> Answers:
        """Ask a model about held-out images, one after another.

        Args:
            infer: The model.
            chosen: Indices of the images.

        Raises:
            ModelError: The model fails.
        """
        guesses = np.empty(len(chosen), np.int64)
        losses = np.empty(len(chosen))
        times = np.empty(len(chosen))
        infer(self._scaled(self.holdout.images[chosen[0]]))  # a model's first call is slower
        for place, index in enumerate(chosen):
            self.wait()
            model_input = self._scaled(self.holdout.images[index])
            start = time.perf_counter()
            output = infer(model_input)
            times[place] = time.perf_counter() - start
            guesses[place] = output.argmax()
            probability = float(output[self.holdout.labels[index]])
            losses[place] = -np.log(max(probability, _MIN_PROBABILITY))
        return Answers(guesses, float(losses.mean()), float(np.median(times)) * 1e3)

    def _ask_current(self, folder: Path, chosen: NDArray[np.intp]) -> CurrentModel:
        """Return what the current model says of the same images, or why it is not asked."""
        version = folder.name
        try:
            predictor = Predictor(folder)
            if self.publication.is_int8_published and INT8_FILE in predictor.manifest.files:
                predictor = Predictor(folder / INT8_FILE)
            classes, its = predictor.classes, predictor.preprocessing
            if its.input_shape != self.preprocessing.input_shape:
                sizes = [f"{p.width}x{p.height}x{p.channels}" for p in (its, self.preprocessing)]
                problem = f"its input is {sizes[0]}, not {sizes[1]}"
                return CurrentModel.incomparable(version, problem, classes)
            numbers = {name: number for number, name in enumerate(classes)}
            names = [self.classes[label] for label in self.holdout.labels[chosen]]
            wanted = [numbers.get(name, -1) for name in names]
            scale = np.float32(its.scale)
            guesses = []
            for index in chosen:
                self.wait()
                image = self.holdout.images[index] * scale
                guesses.append(int(predictor.infer(image).argmax()))
        except RunFailedError:
            raise  # the robot leaves the run
        except FlRobotError as error:
            _logger.warning("the current model %s cannot be compared: %s", version, error)
            # The reason goes to the server, and paths of this robot are not for it.
            problem = "it cannot be used, as the worker's log says"
            return CurrentModel.incomparable(version, problem)
        return CurrentModel(version, classes, np.array(guesses) == np.array(wanted))


def evenly(count: int, most: int) -> NDArray[np.intp]:
    """Return indices spread evenly over `count` things, `most` of them or all."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.intp)
