"""Read access to a dataset."""

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
    """Owns a reading connection to the index. Safe for use from several threads.

    Attributes:
        path: Absolute path of the folder.
    """

    def __init__(self, path: Path, index: IndexReader) -> None:
        """Take over an open index; see `Dataset.open`.

        Args:
            path: Absolute path of the dataset's folder.
            index: Its index.
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
        with self._as_dataset_error("cannot be read"):
            return self._index.samples(has_label=True, max_id=limit)

    def unlabelled(self) -> list[Sample]:
        """Return the review pool, the samples without a label, in the order of storing.

        Raises:
            DatasetError: The index cannot be read.
        """
        with self._as_dataset_error("cannot be read"):
            return self._index.samples(has_label=False)

    def num_labelled_after(self, id_: int) -> int:
        """Return the number of labelled samples that were stored after the one with an id.

        Raises:
            DatasetError: The index cannot be read.
        """
        with self._as_dataset_error("cannot be read"):
            return self._index.num_labelled_after(id_)

    def groups(self) -> list[SampleGroup]:
        """Return the number, size and time of the samples by label and topic, in that order.

        Raises:
            DatasetError: The index cannot be read.
        """
        with self._as_dataset_error("cannot be read"):
            return self._index.groups()

    def verdicts(self) -> dict[str, int]:
        """Return the number of frames by verdict since the dataset was made.

        Raises:
            DatasetError: The index cannot be read.
        """
        with self._as_dataset_error("cannot be read"):
            return self._index.verdicts()

    def free_bytes(self) -> int:
        """Return the free space on the dataset's disk for unprivileged users, in bytes.

        Raises:
            DatasetError: The disk is gone.
        """
        with self._as_dataset_error("cannot be read"):
            disk = os.statvfs(self.path)
            return disk.f_bavail * disk.f_frsize

    @contextmanager
    def _as_dataset_error(self, what: str) -> Iterator[None]:
        """Raise errors of the disk, the index and the labels as DatasetError."""
        try:
            yield
        except (OSError, sqlite3.Error, LabelError) as error:
            raise DatasetError(f"dataset {self.path} {what}: {error}") from error
