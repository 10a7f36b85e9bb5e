"""Opens a dataset for those who only look."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from pathlib import Path

from fl_robot_ros.dataset.dataset import Dataset
from fl_robot_ros.dataset.dataset_reader import DatasetReader
from fl_robot_ros.dataset.index_reader import read_index
from fl_robot_ros.errors import DatasetError
from fl_robot_ros.labels.folder_layout import INDEX_NAME


def open_to_read(path: Path) -> DatasetReader:
    """Open a dataset to look at it, also where it cannot be written.

    What a crash left is settled where it can be.

    Raises:
        DatasetError: There is none, or it cannot be read.
    """
    try:
        return Dataset(path)
    except DatasetError:
        # A medium that is read-only, a full disk, another user's files.
        with suppress(DatasetError, OSError, sqlite3.Error):
            return DatasetReader(path.absolute(), read_index(path / INDEX_NAME))
        raise
