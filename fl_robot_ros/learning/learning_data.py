"""The learning data of a run, whatever its source."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from fl_robot_ros.data_source import DataSource, SourceKind
from fl_robot_ros.errors import SnapshotError
from fl_robot_ros.images.preprocessing import Preprocessing
from fl_robot_ros.learning.file_data import open_image_folder, open_snapshot
from fl_robot_ros.learning.hub_data import open_hub
from fl_robot_ros.learning.tfds_data import open_tfds
from fl_robot_ros.learning.training_data import LabelledImages, Wait, no_wait


class LearningData(Protocol):
    """Labelled images on two sides, read for a run's classes and input."""

    def load(
        self, classes: Sequence[str], preprocessing: Preprocessing, wait: Wait = no_wait
    ) -> tuple[LabelledImages, LabelledImages]:
        """Return the training and the holdout images.

        Args:
            classes: Class names of the run.
            preprocessing: The model's input.
            wait: Called before each image.

        Raises:
            FlRobotError: The images cannot be read.
        """
        ...


def open_learning_data(source: DataSource, snapshot: Path | None) -> LearningData:
    """Open the images of a run; a hub dataset is downloaded now.

    Args:
        source: The source.
        snapshot: File of the frozen dataset; for a captured source only.

    Raises:
        SnapshotError: The snapshot is missing, unreadable or altered.
        DatasetError: The source cannot be opened, or its library is not installed.
    """
    if source.kind == SourceKind.FOLDER:
        return open_image_folder(Path(source.location), source.holdout_fraction)
    if source.kind == SourceKind.TFDS:
        return open_tfds(Path(source.location), source.holdout_fraction)
    if source.kind == SourceKind.HUB:
        return open_hub(source)
    if snapshot is None:
        raise SnapshotError("a run of captured images needs a snapshot of the dataset")
    return open_snapshot(snapshot)
