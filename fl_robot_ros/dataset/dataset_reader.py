"""A dataset as those see it who only look."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from fl_robot_ros.dataset.index_reader import IndexReader
from fl_robot_ros.dataset.sample import Sample, SampleGroup
from fl_robot_ros.errors import DatasetError, LabelError

if TYPE_CHECKING:
    from typing_extensions import Self


class DatasetReader:
    """The samples of a dataset. Safe for use from several threads.

    Attributes:
        path: Absolute path of the folder.
    """

    def __init__(self, path: Path, index: IndexReader) -> None:
        """Read a dataset.

        Args:
            path: Absolute path of its folder.
            index: Its index, which is closed with this.
        """
        self.path = path
        self._index = index

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the index. May be called twice."""
        self._index.close()

    def samples(self, max_id: int | None = None) -> list[Sample]:
        """Return the labelled samples in the order of storing.

        Args:
            max_id: Only samples with at most this id; None: all.

        Raises:
            DatasetError: The index cannot be read.
        """
        limit = sys.maxsize if max_id is None else max_id
        with self._trouble("cannot be read"):
            return self._index.samples("WHERE label != '' AND id <= ? ORDER BY id", limit)

    def unlabelled(self) -> list[Sample]:
        """Return the samples whose label is still to be given, in the order of storing.

        Raises:
            DatasetError: The index cannot be read.
        """
        with self._trouble("cannot be read"):
            return self._index.samples("WHERE label = '' ORDER BY id")

    def groups(self) -> list[SampleGroup]:
        """Return the samples counted by label and camera, in the order of both.

        Raises:
            DatasetError: The index cannot be read.
        """
        with self._trouble("cannot be read"):
            return self._index.groups()

    def verdicts(self) -> dict[str, int]:
        """Return the number of frames by verdict since the dataset was made.

        Raises:
            DatasetError: The index cannot be read.
        """
        with self._trouble("cannot be read"):
            return self._index.verdicts()

    def free_bytes(self) -> int:
        """Return the room on the dataset's disk for users without special rights, in bytes.

        Raises:
            DatasetError: The disk is gone.
        """
        with self._trouble("cannot be read"):
            disk = os.statvfs(self.path)
            return disk.f_bavail * disk.f_frsize

    @contextmanager
    def _trouble(self, what: str) -> Iterator[None]:
        """Turn errors of the disk, the index and the samples into DatasetError."""
        try:
            yield
        except (OSError, sqlite3.Error, LabelError) as error:
            raise DatasetError(f"dataset {self.path} {what}: {error}") from error
