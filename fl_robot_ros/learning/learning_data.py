"""What a robot learns from in a run, whatever the source."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from fl_robot_ros.data_source import FOLDER, HUB, TFDS, DataSource
from fl_robot_ros.errors import DatasetError
from fl_robot_ros.images.preprocessing import Preprocessing
from fl_robot_ros.learning.file_data import open_image_folder
from fl_robot_ros.learning.hub_data import open_hub
from fl_robot_ros.learning.tfds_data import open_tfds
from fl_robot_ros.learning.training_data import LabelledImages


class LearningData(Protocol):
    """Labelled images on two sides, read for a run's classes and input."""

    def load(
        self, classes: Sequence[str], preprocessing: Preprocessing
    ) -> tuple[LabelledImages, LabelledImages]:
        """Return the training and the holdout images.

        Args:
            classes: Class names of the run.
            preprocessing: The model's input.

        Raises:
            FlRobotError: The images cannot be read.
        """
        ...


def open_source(source: DataSource) -> LearningData:
    """Open a source other than the captured dataset; a hub dataset is downloaded now.

    Raises:
        DatasetError: It cannot be opened, or the library for it is not installed.
    """
    if source.kind == FOLDER:
        return open_image_folder(Path(source.location), source.holdout_fraction)
    if source.kind == TFDS:
        return open_tfds(Path(source.location), source.holdout_fraction)
    if source.kind == HUB:
        return open_hub(source)
    raise DatasetError(f"data source {source.kind!r} is none that can be opened by itself")
