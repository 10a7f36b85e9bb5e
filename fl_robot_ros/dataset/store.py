"""The labelled dataset on disk: a folder of JPEG files per label, a SQLite index as the truth."""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
import threading
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from types import TracebackType

from fl_robot_ros.capture.labels import clean_label, label_folder_name
from fl_robot_ros.capture.new_sample import ALREADY_STORED, KEPT, OVER_QUOTA, NewSample
from fl_robot_ros.dataset.retention import Limits, choose_victims
from fl_robot_ros.dataset.sample import Sample, SampleGroup
from fl_robot_ros.dataset.sample_files import (
    INDEX_NAME,
    REVIEW_NAME,
    STAMP_LIMIT,
    FolderLock,
    MovingFolder,
    find_files,
    image_name,
    make_folder,
)
from fl_robot_ros.errors import DatasetError, LabelError

SCHEMA_VERSION = 2

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
# What each schema version adds to the one before.
_UPGRADES = (
    (_SCHEMA,),
    (
        "ALTER TABLE samples ADD COLUMN sha256 TEXT NOT NULL DEFAULT ''",
        "CREATE INDEX samples_by_label ON samples(label, stamp_ns, size_bytes)",
        "CREATE TABLE verdicts(verdict TEXT PRIMARY KEY, frames INTEGER NOT NULL)",
    ),
)
_BUSY_TIMEOUT_SEC = 30.0
_COLUMNS = "id, label, topic, stamp_ns, path, sha256"
# A full class is thinned by this share of it at a time, which costs less than one by one.
_THINNING_SHARE = 100
# Samples that change their label in one transaction.
_RELABEL_BATCH = 500

_logger = logging.getLogger(__name__)


class Dataset:
    """A folder of labelled pictures, and of pictures whose label is still to be given.

    A sample is its topic and stamp; the same frame is stored once. What `add` has returned "kept"
    for survives a power cut. Safe for use from several threads and processes; reading does not
    wait for the disk while another thread writes.

    Attributes:
        path: Absolute path of the folder.
        recovered: Number of files that a crash had left half moved, and that opening settled.
    """

    def __init__(
        self, path: Path, limits: Limits | None = None, *, allow_orphans: bool = False
    ) -> None:
        """Open a dataset, or create one, and settle what a crash left.

        Args:
            path: Its folder.
            limits: Its budget; None: as much as the disk holds.
            allow_orphans: Make a new index where images lie without one; see `dataset.check`.

        Raises:
            DatasetError: The folder cannot be written, the index is missing beside images or
                broken, or it is of a newer version of this program.
        """
        self.path = path.absolute()
        self._limits = limits or Limits()
        self._pinned_id = 0
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        # Replaced as a whole, never changed in place: readers take no lock.
        self._counts: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._last_id = 0
        self._data_version = -1
        self.recovered = 0
        with self._trouble("cannot be opened"):
            self.path.mkdir(parents=True, exist_ok=True)
            self._folder_lock = FolderLock(self.path)
        try:
            self._writer = self._open_index(allow_orphans)
        except BaseException:
            self._folder_lock.close()
            raise
        self._reader = self._connect()
        try:
            with self._trouble("cannot be repaired"):
                self._moving = MovingFolder(self.path)
                self.recovered = self._settle()
                self._note_other_writers()
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
        """Return the number of labelled samples."""
        return self._counts.total() - self._counts[""]

    def close(self) -> None:
        """Close the index. May be called twice."""
        with self._write_lock, self._read_lock:
            self._reader.close()
            self._writer.close()
            self._folder_lock.close()

    def add(self, batch: Sequence[NewSample]) -> list[str]:
        """Store samples: their files first, then all their rows in one transaction.

        Returns:
            For each sample "kept" where it is new and safe on disk, "already_stored" where its
            topic and stamp are known, "over_quota" where the budget is used up and others were
            worth more.

        Raises:
            DatasetError: The disk is full or the folder unwritable, or a label or stamp is unfit;
                nothing of the batch was stored.
        """
        with self._write_lock, self._trouble("cannot be written"):
            with self._transaction():
                outcomes, fresh = self._choose_new(batch)
                if not fresh:
                    return outcomes
                for folder in {path.rpartition("/")[0] for path in fresh}:
                    make_folder(self.path / folder)
                self._moving.write({path: item.image_bytes for path, item in fresh.items()})
                try:
                    newest = self._insert(fresh)
                    self._writer.execute("COMMIT")
                except BaseException:
                    self._moving.discard(fresh)
                    raise
            self._last_id = newest
            self._count(
                {path: (item.label, len(item.image_bytes)) for path, item in fresh.items()}
            )
            self._place(fresh)
            evicted = self._keep_within_limits({item.label for item in fresh.values()})
            if evicted:
                paths = iter(fresh)
                for index, outcome in enumerate(outcomes):
                    if outcome == KEPT and next(paths) in evicted:
                        outcomes[index] = OVER_QUOTA
            return outcomes

    def relabel(self, ids: Iterable[int], label: str) -> int:
        """Give samples another label, "" for none; return how many there were.

        Raises:
            DatasetError: The label is unfit, or the disk or the index cannot be written.
        """
        wanted = list(ids)
        changed = 0
        for start in range(0, len(wanted), _RELABEL_BATCH):
            with self._write_lock, self._trouble("cannot be written"):
                folder = _folder_of(clean_label(label))
                rows = [
                    row
                    for row in self._rows_of(wanted[start : start + _RELABEL_BATCH])
                    if row[1] != label
                ]
                moves = {path: f"{folder}/{path.rpartition('/')[2]}" for _, _, path, _ in rows}
                make_folder(self.path / folder)
                with self._transaction(), self._withdrawn(moves):
                    self._writer.executemany(
                        "UPDATE samples SET label = ?, path = ? WHERE path = ?",
                        [(label, target, path) for path, target in moves.items()],
                    )
                    self._writer.execute("COMMIT")
                self._place(moves.values())
                self._count({path: (old, -size) for _, old, path, size in rows}, -1)
                self._count({path: (label, size) for _, _, path, size in rows})
                self._keep_within_limits({label})
                changed += len(rows)
        return changed

    def remove(self, ids: Iterable[int]) -> int:
        """Remove samples and their files; return how many there were.

        Raises:
            DatasetError: The disk or the index cannot be written.
        """
        with self._write_lock, self._trouble("cannot be written"):
            return len(self._remove(self._rows_of(list(ids))))

    def adopt(self, path: str, sample: NewSample) -> None:
        """Take a file that lies in the dataset's folder already into the index.

        Args:
            path: The file, relative to the dataset's folder.
            sample: What it is.

        Raises:
            DatasetError: The index cannot be written, or knows its topic and stamp already.
        """
        with self._write_lock, self._trouble("cannot be written"):
            with self._transaction():
                self._writer.execute("DELETE FROM samples WHERE path = ?", (path,))
                self._insert({path: sample})
                self._writer.execute("COMMIT")
            self._read_counts()

    def add_verdicts(self, counts: Mapping[str, int]) -> None:
        """Add to the number of frames that ended in each verdict since the dataset was made.

        Raises:
            DatasetError: The index cannot be written.
        """
        with self._write_lock, self._trouble("cannot be written"), self._transaction():
            self._writer.executemany(
                "INSERT INTO verdicts VALUES(?, ?) "
                "ON CONFLICT(verdict) DO UPDATE SET frames = frames + excluded.frames",
                list(counts.items()),
            )
            self._writer.execute("COMMIT")

    def verdicts(self) -> dict[str, int]:
        """Return the number of frames by verdict since the dataset was made.

        Raises:
            DatasetError: The index cannot be read.
        """
        with self._read_lock, self._trouble("cannot be read"):
            return dict(self._reader.execute("SELECT verdict, frames FROM verdicts ORDER BY 1"))

    def pin(self, max_id: int) -> None:
        """Keep the samples up to an id from being evicted, whatever the budget; 0: none."""
        self._pinned_id = max_id

    def alone(self) -> AbstractContextManager[bool]:
        """Keep other processes from opening the dataset meanwhile.

        Yields:
            Whether that is so: False where others have it open already.

        Raises:
            OSError: The file system cannot lock.
        """
        return self._folder_lock.alone()

    def counts(self) -> dict[str, int]:
        """Return the number of samples by label, in the order of the labels."""
        self._refresh()
        return {label: count for label, count in sorted(self._counts.items()) if label and count}

    def num_unlabelled(self) -> int:
        """Return the number of samples whose label is still to be given."""
        self._refresh()
        return self._counts[""]

    def disk_bytes(self) -> int:
        """Return the size of all image files in bytes, without the index."""
        return self._bytes.total()

    def free_bytes(self) -> int:
        """Return the room on the dataset's disk for users without special rights, in bytes.

        Raises:
            DatasetError: The disk is gone.
        """
        with self._trouble("cannot be read"):
            disk = os.statvfs(self.path)
            return disk.f_bavail * disk.f_frsize

    def last_id(self) -> int:
        """Return the id of the newest sample, 0 where there is none."""
        return self._last_id

    def samples(self, max_id: int | None = None) -> list[Sample]:
        """Return the labelled samples in the order of storing.

        Args:
            max_id: Only samples with at most this id; None: all.

        Raises:
            DatasetError: The index cannot be read.
        """
        limit = STAMP_LIMIT - 1 if max_id is None else max_id
        return self._select("WHERE label != '' AND id <= ? ORDER BY id", limit)

    def unlabelled(self) -> list[Sample]:
        """Return the samples whose label is still to be given, in the order of storing.

        Raises:
            DatasetError: The index cannot be read.
        """
        return self._select("WHERE label = '' ORDER BY id")

    def groups(self) -> list[SampleGroup]:
        """Return the samples counted by label and camera, in the order of both.

        Raises:
            DatasetError: The index cannot be read.
        """
        query = (
            "SELECT label, topic, COUNT(*), SUM(size_bytes), MIN(stamp_ns), MAX(stamp_ns) "
            "FROM samples GROUP BY label, topic ORDER BY label, topic"
        )
        with self._read_lock, self._trouble("cannot be read"):
            return list(map(SampleGroup._make, self._reader.execute(query)))

    def _select(self, clause: str, *values: int) -> list[Sample]:
        query = f"SELECT {_COLUMNS} FROM samples {clause}"
        with self._read_lock, self._trouble("cannot be read"):
            return list(map(Sample._make, self._reader.execute(query, values)))

    def _settle(self) -> int:
        """Bring every file that a crash left half moved to its place, or away."""
        with self._folder_lock.alone() as alone:
            names = set(self._moving.names()) if alone else set()
            if not names:
                return 0
            paths = [
                path
                for (path,) in self._writer.execute("SELECT path FROM samples")
                if path.rpartition("/")[2] in names
            ]
            for folder in {path.rpartition("/")[0] for path in paths}:
                make_folder(self.path / folder)
            self._moving.place(paths)
            self._moving.discard(names)
            return len(names)

    def _choose_new(self, batch: Sequence[NewSample]) -> tuple[list[str], dict[str, NewSample]]:
        """Return each sample's outcome, and the new ones by their paths."""
        outcomes: list[str] = []
        fresh: dict[str, NewSample] = {}
        keys = set()
        for sample in batch:
            path = _sample_path(sample)
            key = (sample.topic, sample.stamp_ns)
            is_new = not (path in fresh or key in keys or self._has(*key, path))
            outcomes.append(KEPT if is_new else ALREADY_STORED)
            if is_new:
                fresh[path] = sample
                keys.add(key)
        return outcomes, fresh

    def _keep_within_limits(self, labels: Collection[str]) -> set[str]:
        """Evict what is over the budget; return the paths of what went."""
        evicted: set[str] = set()
        try:
            self._evict(labels, evicted)
        except (OSError, sqlite3.Error) as error:
            # What was to be stored is stored; the next batch brings the next try.
            _logger.warning("dataset %s cannot evict what is over quota: %s", self.path, error)
        return evicted

    def _evict(self, labels: Collection[str], evicted: set[str]) -> None:
        """Evict what is over the budget, adding the paths of what went."""
        for label in labels:
            limit = self._limits.samples_of(label)
            excess = self._counts[label] - limit
            if limit and excess > 0:
                evicted |= self._thin(label, excess + limit // _THINNING_SHARE)
        while self._limits.total_bytes and self._bytes.total() > self._limits.total_bytes:
            # The largest class gives way, so that rare ones stay.
            for label, _ in self._bytes.most_common():
                gone = self._thin(label, max(1, self._counts[label] // _THINNING_SHARE))
                evicted |= gone
                if gone:
                    break
            else:
                break  # everything is pinned

    def _thin(self, label: str, count: int) -> set[str]:
        """Evict samples of one label; return their paths."""
        rows = self._writer.execute(
            "SELECT id, label, path, size_bytes, stamp_ns FROM samples WHERE label = ? "
            "ORDER BY stamp_ns, id",
            (label,),
        ).fetchall()
        evictable = [row[0] > self._pinned_id for row in rows]
        victims = choose_victims([row[4] for row in rows], count, evictable)
        return self._remove([rows[index][:4] for index in victims])

    def _remove(self, rows: Sequence[tuple[int, str, str, int]]) -> set[str]:
        """Remove samples, given as id, label, path and size; return their paths."""
        paths = {row[2] for row in rows}
        if not paths:
            return paths
        with self._transaction(), self._withdrawn(paths):
            self._writer.executemany(
                "DELETE FROM samples WHERE id = ?", [(number,) for number, *_ in rows]
            )
            self._writer.execute("COMMIT")
        self._moving.discard(paths)
        self._count({path: (label, -size) for _, label, path, size in rows}, -1)
        return paths

    @contextmanager
    def _withdrawn(self, paths: Collection[str]) -> Iterator[None]:
        """Take files out of their places; where something goes wrong, put them back."""
        try:
            self._moving.withdraw(paths)
            yield
        except BaseException:
            self._moving.place(paths)
            raise

    def _rows_of(self, ids: Sequence[int]) -> list[tuple[int, str, str, int]]:
        """Return id, label, path and size of the samples that there are among some ids."""
        query = "SELECT id, label, path, size_bytes FROM samples WHERE id = ?"
        found = (
            self._writer.execute(query, (number,)).fetchone() for number in dict.fromkeys(ids)
        )
        return [row for row in found if row is not None]

    def _open_index(self, allow_orphans: bool) -> sqlite3.Connection:
        with self._trouble("has an index that cannot be opened"):
            index_exists = (self.path / INDEX_NAME).exists()
            orphans = 0 if index_exists or allow_orphans else len(find_files(self.path).images)
            if orphans:
                raise DatasetError(
                    f"dataset {self.path} has {orphans} images but no {INDEX_NAME}; restore that "
                    f"file, or have `fl_dataset check --repair` make a new one"
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
                for statements in _UPGRADES[version:]:
                    for statement in statements:
                        connection.execute(statement)
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

    def _has(self, topic: str, stamp_ns: int, path: str) -> bool:
        query = (
            "SELECT EXISTS(SELECT 1 FROM samples WHERE topic = ? AND stamp_ns = ?)"
            " OR EXISTS(SELECT 1 FROM samples WHERE path = ?)"
        )
        return bool(self._writer.execute(query, (topic, stamp_ns, path)).fetchone()[0])

    def _place(self, paths: Iterable[str]) -> None:
        """Move files to where the index, which is written, says that they are."""
        try:
            self._moving.place(paths)
        except OSError as error:
            _logger.error("dataset %s needs to be opened again: %s", self.path, error)

    def _insert(self, samples: dict[str, NewSample]) -> int:
        """Insert rows; return the id of the last one."""
        cursor = self._writer.cursor()
        for path, item in samples.items():
            cursor.execute(
                "INSERT INTO samples(label, topic, stamp_ns, path, width, height, size_bytes, "
                "sha256) VALUES(?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    item.label,
                    item.topic,
                    item.stamp_ns,
                    path,
                    item.width,
                    item.height,
                    len(item.image_bytes),
                    hashlib.sha256(item.image_bytes).hexdigest(),
                ),
            )
        return int(cursor.lastrowid or 0)

    def _count(self, changes: dict[str, tuple[str, int]], sign: int = 1) -> None:
        """Add samples, given as label and bytes by path, to the numbers by label."""
        counts, sizes = Counter(self._counts), Counter(self._bytes)
        for label, size in changes.values():
            counts[label] += sign
            sizes[label] += size
        self._counts, self._bytes = counts, sizes

    def _refresh(self) -> None:
        """Take account of what other processes wrote, unless a thread writes just now."""
        if self._write_lock.acquire(blocking=False):
            try:
                with self._trouble("cannot be read"):
                    self._note_other_writers()
            finally:
                self._write_lock.release()

    def _note_other_writers(self) -> None:
        (version,) = self._writer.execute("PRAGMA data_version").fetchone()
        if version != self._data_version:
            self._data_version = version
            self._read_counts()

    def _read_counts(self) -> None:
        query = "SELECT label, COUNT(*), SUM(size_bytes) FROM samples GROUP BY label"
        rows = self._writer.execute(query).fetchall()
        self._counts = Counter({label: count for label, count, _ in rows})
        self._bytes = Counter({label: size for label, _, size in rows})
        (newest,) = self._writer.execute("SELECT MAX(id) FROM samples").fetchone()
        self._last_id = int(newest or 0)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Begin a transaction, which keeps other processes from writing; roll back at the end.

        What is to stay must be committed before.
        """
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            self._note_other_writers()
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


def _folder_of(label: str) -> str:
    return label_folder_name(label) if label else REVIEW_NAME


def _sample_path(sample: NewSample) -> str:
    """Return the sample's path in the dataset: folder of the label, stamp, hash of the topic."""
    if not -STAMP_LIMIT <= sample.stamp_ns < STAMP_LIMIT:
        raise DatasetError(f"a sample has the stamp {sample.stamp_ns} ns; expected 64 bits")
    return f"{_folder_of(sample.label)}/{image_name(sample.topic, sample.stamp_ns)}"
