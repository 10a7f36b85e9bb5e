"""The labelled dataset on disk: a folder of JPEG files per label, a SQLite index as the truth."""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from fl_robot_ros.capture.labels import label_folder_name
from fl_robot_ros.capture.new_sample import NewSample
from fl_robot_ros.dataset.sample_files import (
    INDEX_NAME,
    FolderLock,
    find_files,
    remove_files,
    write_files,
)
from fl_robot_ros.errors import DatasetError, LabelError

__all__ = ["Dataset", "NewSample", "RepairReport", "Sample"]

SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE samples(
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    label TEXT NOT NULL,
    topic TEXT NOT NULL,
    stamp_ns INTEGER NOT NULL,
    path TEXT NOT NULL UNIQUE,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    UNIQUE(topic, stamp_ns)
)
"""
_STAMP_LIMIT = 1 << 63
_BUSY_TIMEOUT_SEC = 30.0


@dataclass(frozen=True)
class Sample:
    """A labelled picture in the dataset.

    Attributes:
        id: Number in the order of storing, from 1; never used twice.
        label: What it shows.
        topic: Name of the camera's topic.
        stamp_ns: Capture time in ns.
        path: Its JPEG file, relative to the dataset's folder, with "/" between the parts.
    """

    id: int
    label: str
    topic: str
    stamp_ns: int
    path: str


@dataclass(frozen=True)
class RepairReport:
    """What a repair found.

    Attributes:
        rows_dropped: Samples whose file was gone or empty.
        files_removed: Files of the dataset's own making that no sample needs.
        foreign_files: Other files in the folder, which were left alone.
        skipped: Nothing was looked at, because another process has the dataset open.
    """

    rows_dropped: int = 0
    files_removed: int = 0
    foreign_files: int = 0
    skipped: bool = False


class Dataset:
    """A folder of labelled pictures.

    A sample is its topic and stamp; the same frame is stored once. What `add` has returned True
    for survives a power cut. Safe for use from several threads; reading does not wait for the
    disk while another thread writes.

    Attributes:
        path: Absolute path of the folder.
        repaired: What the repair at opening found.
    """

    def __init__(self, path: Path) -> None:
        """Open a dataset, or create one, and repair what a power cut left.

        Raises:
            DatasetError: The folder cannot be written, the index is missing beside images or
                broken, or it is of a newer version of this program.
        """
        self.path = path.absolute()
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        # Replaced as a whole, never changed in place: readers take no lock.
        self._counts: Counter[str] = Counter()
        self._image_bytes = 0
        self._last_id = 0
        with self._trouble("cannot be opened"):
            self.path.mkdir(parents=True, exist_ok=True)
            self._folder_lock = FolderLock(self.path)
        try:
            self._writer = self._open_index()
        except BaseException:
            self._folder_lock.close()
            raise
        self._reader = self._connect()
        try:
            self.repaired = self.repair()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Dataset:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return self._counts.total()

    def close(self) -> None:
        """Close the index. May be called twice."""
        with self._write_lock, self._read_lock:
            self._reader.close()
            self._writer.close()
            self._folder_lock.close()

    def add(self, batch: Sequence[NewSample]) -> list[bool]:
        """Store samples: their files first, then all their rows in one transaction.

        Returns:
            For each sample True where it is new and safe on disk, False where its topic and stamp
            are stored already.

        Raises:
            DatasetError: The disk is full or the folder unwritable, or a label or stamp is unfit;
                nothing of the batch was stored.
        """
        with self._write_lock, self._trouble("cannot be written"), self._transaction():
            verdicts = []
            fresh: dict[str, NewSample] = {}
            keys = set()
            for sample in batch:
                path = _sample_path(sample)
                key = (sample.topic, sample.stamp_ns)
                is_new = not (path in fresh or key in keys or self._has(*key, path))
                verdicts.append(is_new)
                if is_new:
                    fresh[path] = sample
                    keys.add(key)
            if not fresh:
                return verdicts
            try:
                write_files(self.path, {path: item.image_bytes for path, item in fresh.items()})
                self._insert(fresh.items())
                self._writer.execute("COMMIT")
            except BaseException:
                remove_files([self.path / path for path in fresh])
                raise
            self._last_id = self._newest_id()
            self._image_bytes += sum(len(item.image_bytes) for item in fresh.values())
            self._counts = self._counts + Counter(item.label for item in fresh.values())
            return verdicts

    def counts(self) -> dict[str, int]:
        """Return the number of samples by label, in the order of the labels."""
        return dict(sorted(self._counts.items()))

    def disk_bytes(self) -> int:
        """Return the size of all image files in bytes, without the index."""
        return self._image_bytes

    def last_id(self) -> int:
        """Return the id of the newest sample, 0 where there is none."""
        return self._last_id

    def samples(self, max_id: int | None = None) -> list[Sample]:
        """Return the samples in the order of storing.

        Args:
            max_id: Only samples with at most this id; None: all.

        Raises:
            DatasetError: The index cannot be read.
        """
        limit = _STAMP_LIMIT - 1 if max_id is None else max_id
        query = "SELECT id, label, topic, stamp_ns, path FROM samples WHERE id <= ? ORDER BY id"
        with self._read_lock, self._trouble("cannot be read"):
            return [Sample(*row) for row in self._reader.execute(query, (limit,))]

    def repair(self) -> RepairReport:
        """Bring index and files to agree: no row without its file, no file without its row.

        Does nothing while another process has the dataset open, whose files may be on their way.

        Raises:
            DatasetError: The folder or the index cannot be read or written.
        """
        with self._write_lock, self._trouble("cannot be repaired"):
            with self._folder_lock.alone() as alone:
                report = self._repair() if alone else RepairReport(skipped=True)
            query = "SELECT label, COUNT(*), SUM(size_bytes) FROM samples GROUP BY label"
            rows = self._writer.execute(query).fetchall()
            self._counts = Counter({label: count for label, count, _ in rows})
            self._image_bytes = sum(size for _, _, size in rows)
            self._last_id = self._newest_id()
            return report

    def _repair(self) -> RepairReport:
        rows = {path for (path,) in self._writer.execute("SELECT path FROM samples")}
        found = find_files(self.path)
        lost = rows - found.images
        stray = (found.images - rows) | found.empty | found.unfinished
        if lost:
            with self._transaction():
                self._writer.executemany(
                    "DELETE FROM samples WHERE path = ?", [(path,) for path in lost]
                )
                self._writer.execute("COMMIT")
        remove_files([self.path / path for path in stray])
        return RepairReport(len(lost), len(stray), found.foreign)

    def _open_index(self) -> sqlite3.Connection:
        with self._trouble("has an index that cannot be opened"):
            index_exists = (self.path / INDEX_NAME).exists()
            orphans = 0 if index_exists else len(find_files(self.path).images)
            if orphans:
                raise DatasetError(
                    f"dataset {self.path} has {orphans} images but no {INDEX_NAME}; restore that "
                    f"file, or move the images to another folder"
                )
            connection = self._connect()
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("BEGIN IMMEDIATE")
                (version,) = connection.execute("PRAGMA user_version").fetchone()
                if version > SCHEMA_VERSION:
                    raise DatasetError(
                        f"dataset {self.path} has schema version {version}; this program knows "
                        f"versions up to {SCHEMA_VERSION}; update it"
                    )
                if version == 0:
                    connection.execute(_SCHEMA)
                    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
                connection.execute("COMMIT")
            except BaseException:
                connection.close()
                raise
            return connection

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(
            self.path / INDEX_NAME,
            timeout=_BUSY_TIMEOUT_SEC,
            isolation_level=None,
            check_same_thread=False,
        )

    def _newest_id(self) -> int:
        (newest,) = self._writer.execute("SELECT MAX(id) FROM samples").fetchone()
        return int(newest or 0)

    def _has(self, topic: str, stamp_ns: int, path: str) -> bool:
        query = "SELECT 1 FROM samples WHERE (topic = ? AND stamp_ns = ?) OR path = ?"
        return self._writer.execute(query, (topic, stamp_ns, path)).fetchone() is not None

    def _insert(self, samples: Iterable[tuple[str, NewSample]]) -> None:
        self._writer.executemany(
            "INSERT INTO samples(label, topic, stamp_ns, path, width, height, size_bytes) "
            "VALUES(?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    item.label,
                    item.topic,
                    item.stamp_ns,
                    path,
                    item.width,
                    item.height,
                    len(item.image_bytes),
                )
                for path, item in samples
            ],
        )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Begin a transaction, which keeps other processes from writing; roll back at the end.

        What is to stay must be committed before.
        """
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            if self._writer.in_transaction:
                with suppress(sqlite3.Error):
                    self._writer.execute("ROLLBACK")

    @contextmanager
    def _trouble(self, what: str) -> Iterator[None]:
        """Turn errors of the disk, the index and the samples into DatasetError."""
        try:
            yield
        except (OSError, sqlite3.Error, LabelError) as error:
            raise DatasetError(f"dataset {self.path} {what}: {error}") from error


def _sample_path(sample: NewSample) -> str:
    """Return the sample's path in the dataset: folder of the label, stamp, hash of the topic."""
    if not -_STAMP_LIMIT <= sample.stamp_ns < _STAMP_LIMIT:
        raise DatasetError(f"a sample has the stamp {sample.stamp_ns} ns; expected 64 bits")
    topic = hashlib.sha256(sample.topic.encode()).hexdigest()[:8]
    return f"{label_folder_name(sample.label)}/{sample.stamp_ns}_{topic}.jpg"
