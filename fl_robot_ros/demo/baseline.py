"""What the fleet is compared with: training on one robot's images, and on all in one place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fl_robot_ros.capture.labelled_bag import LabelledBag
from fl_robot_ros.cloud.checkpoint import GlobalModel, load_checkpoint
from fl_robot_ros.config import ServerSettings
from fl_robot_ros.dataset.snapshot import Snapshot, load_snapshot
from fl_robot_ros.demo.plan import DemoPlan
from fl_robot_ros.errors import RunFailedError
from fl_robot_ros.images.decode import decode_frame
from fl_robot_ros.learning.trainer import Trainer
from fl_robot_ros.learning.training_data import LabelledImages, load_images


@dataclass(frozen=True)
class TestFrames:
    """The test bag's labelled frames.

    Attributes:
        images: uint8 (N, H, W, 3), RGB.
        labels: Their labels.
    """

    __test__ = False  # Not a test class of pytest.

    images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
    labels: tuple[str, ...]


def load_test_frames(bag: Path) -> TestFrames:
    """Read the labelled frames of a bag."""
    images, names = [], []
    with LabelledBag(bag) as labelled:
        for frame, label in labelled.frames():
            if label:
                images.append(decode_frame(frame))
                names.append(label)
    return TestFrames(np.stack(images), tuple(names))


class Baseline:
    """Trains and evaluates without a server, on the snapshots of the robots."""

    def __init__(self, plan: DemoPlan, test: TestFrames) -> None:
        """Build the model once.

        Args:
            plan: Numbers of the demonstration.
            test: Frames that no robot trained on.

        Raises:
            ModelError: The server's first checkpoint cannot be read.
        """
        self._plan = plan
        self._start = self._checkpoint(0)
        start = self._start
        self._trainer = Trainer(start.architecture, start.preprocessing, start.classes)
        self._test = LabelledImages(
            np.stack([start.preprocessing.resize(image) for image in test.images]),
            np.array([start.classes.index(label) for label in test.labels], dtype=np.int32),
        )

    def round_accuracy(self, server_round: int) -> float:
        """Return the accuracy, 0 to 1, of a round's global model on the test frames."""
        weights = self._checkpoint(server_round).weights
        return self._trainer.evaluate(weights, self._test).accuracy

    def trained_accuracy(
        self, robots: Sequence[str], on_epoch: Callable[[], None] = lambda: None
    ) -> float:
        """Return the accuracy, 0 to 1, of the same model trained in one place.

        Training starts from the same weights and takes as many epochs as the run did.

        Args:
            robots: Names of the robots whose training images are used.
            on_epoch: Called after each epoch.
        """
        plan = self._plan
        items = []
        for robot in robots:
            snapshot = self._snapshot(robot)
            items += [(snapshot.image_path(sample), sample.label) for sample in snapshot.train]
        data = load_images(items, self._start.classes, self._start.preprocessing)
        result = self._trainer.train(
            self._start.weights,
            data,
            epochs=plan.rounds * plan.local_epochs,
            batch_size=plan.batch_size,
            learning_rate=ServerSettings.learning_rate,
            seed=plan.seed,
            on_epoch=lambda _epoch, _metrics: on_epoch(),
        )
        return self._trainer.evaluate(result.weights, self._test).accuracy

    def num_images(self, robot: str) -> int:
        """Return the number of a robot's labelled images: trained on, held out and left out."""
        snapshot = self._snapshot(robot)
        return len(snapshot.train) + len(snapshot.holdout) + snapshot.left_out

    def _checkpoint(self, server_round: int) -> GlobalModel:
        folder = self._plan.state_dir / "checkpoints"
        return load_checkpoint(folder / f"round-{server_round:05d}.npz")

    def _snapshot(self, robot: str) -> Snapshot:
        found = sorted((self._plan.robot_dir(robot) / "snapshots").glob("*.json"))
        if not found:
            raise RunFailedError(f"{robot} froze no snapshot")
        return load_snapshot(found[-1])
