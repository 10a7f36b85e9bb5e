"""Opens a dataset's index, or says what is wrong with it and what to do."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from fl_robot_ros.dataset.sample_files import find_files
from fl_robot_ros.dataset.sample_index import SampleIndex
from fl_robot_ros.errors import DatasetError
from fl_robot_ros.labels.folder_layout import INDEX_NAME

# What SQLite needs beside the index to open it.
_ROOM_BYTES = 1 << 16


def open_index(folder: Path, allow_orphans: bool) -> SampleIndex:
    """Open the index of a dataset, or make one where there is none.

    Args:
        folder: The dataset's folder.
        allow_orphans: Make a new index where images lie without one.

    Raises:
        DatasetError: It is missing beside images, broken, of a newer version of this program, or
            cannot be opened.
        OSError: The folder cannot be read.
    """
    path = folder / INDEX_NAME
    # SQLite takes an empty file for a new database.
    has_index = path.exists() and path.stat().st_size > 0
    orphans = 0 if has_index or allow_orphans else len(find_files(folder).images)
    if orphans:
        raise DatasetError(
            f"dataset {folder} has {orphans} images but no {INDEX_NAME}; restore that file, or "
            f"have `fl_dataset check --repair` make a new one"
        )
    try:
        return SampleIndex(path)
    except sqlite3.OperationalError as error:
        disk = os.statvfs(folder)
        is_full = disk.f_bavail * disk.f_frsize < _ROOM_BYTES
        reason = "the disk is full" if is_full else str(error)
        raise DatasetError(
            f"dataset {folder} has an index that cannot be opened: {reason}"
        ) from error
    except sqlite3.DatabaseError as error:
        raise DatasetError(
            f"dataset {folder} has a broken {INDEX_NAME}: {error}; restore that file, or move it "
            f"away and have `fl_dataset check --repair` make a new one"
        ) from error
