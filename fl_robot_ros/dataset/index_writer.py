"""Write access to a dataset's index."""

from __future__ import annotations

import functools
import hashlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from fl_robot_ros.capture.new_sample import NewSample
from fl_robot_ros.dataset.index_reader import SCHEMA_VERSION, IndexReader
from fl_robot_ros.dataset.sample_files import find_files
from fl_robot_ros.dataset.sample_paths import file_name, hash_topic, recovered_topic
from fl_robot_ros.errors import DatasetError
from fl_robot_ros.labels.folder_layout import INDEX_NAME
from fl_robot_ros.topic_name import sibling_topic

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
    ("ALTER TABLE samples ADD COLUMN frame_digest TEXT NOT NULL DEFAULT ''",),
)
# Columns for what `_names` returns.
_NAMES = "topic, sibling, recovered, recovered_sibling"
_ALL_NAMES = "wanted.topic, wanted.sibling, wanted.recovered, wanted.recovered_sibling"
_BUSY_TIMEOUT_SEC = 30.0
# Rows of one statement: many take hardly longer than one; SQLite limits the number of values.
_ROWS = 100
# Free space that SQLite needs to open an index.
_ROOM_BYTES = 1 << 16


class StoredFile(NamedTuple):
    """A sample's file, for moving and removing it.

    Attributes:
        id: The sample's number.
        label: Its label, "" for none.
        path: Its file, relative to the dataset's folder.
        size_bytes: The file's size.
        stamp_ns: Capture time in ns.
    """

    id: int
    label: str
    path: str
    size_bytes: int
    stamp_ns: int


class IndexWriter(IndexReader):
    """Owns a writing connection beside the reading one.

    The methods of this class are for one thread at a time; those of `IndexReader` may be called
    meanwhile and do not wait for a writer. All raise sqlite3.Error where the file fails.
    """

    def __init__(self, path: Path) -> None:
        """Open or create an index, and upgrade an older schema.

        Raises:
            DatasetError: The schema is of a newer version of this program.
            sqlite3.Error: The file is no index, or cannot be written.
        """
        self._path = path
        self._writer = self._connect()
        try:
            self._upgrade()
            super().__init__(self._connect())
        except BaseException:
            self._writer.close()
            raise

    def close(self) -> None:
        """Close both connections. May be called twice."""
        super().close()
        self._writer.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Begin a transaction, which excludes other writers; roll back what is not committed."""
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            if self._writer.in_transaction:
                with suppress(sqlite3.Error):
                    self._writer.execute("ROLLBACK")

    def commit(self) -> None:
        """Commit the transaction, synced to the disk."""
        self._writer.execute("COMMIT")

    def version(self) -> int:
        """Return a number that changes with every write of another connection."""
        (version,) = self._writer.execute("PRAGMA data_version").fetchone()
        return int(version)

    def known(self, keys: Sequence[tuple[str, int, str]]) -> dict[int, str]:
        """Look keys up among the stored samples.

        A key matches a sample of the same path, or of the same stamp and camera: the same topic,
        its raw or compressed sibling, or a recovered topic with the hash of either.

        Args:
            keys: Topic, stamp in ns and path.

        Returns:
            The frame digest of the matching sample by position in `keys`; "" for an unknown
            digest, or that of a frame of another topic.
        """
        found: dict[int, str] = {}
        for start in range(0, len(keys), _ROWS):
            rows = [
                (number, *_names(topic), stamp_ns, path)
                for number, (topic, stamp_ns, path) in enumerate(
                    keys[start : start + _ROWS], start
                )
            ]
            query = (
                f"WITH wanted(number, {_NAMES}, stamp_ns, path) AS ({_values(rows)}) "
                "SELECT number, "
                "CASE samples.topic WHEN wanted.topic THEN frame_digest ELSE '' END "
                f"FROM wanted JOIN samples USING(stamp_ns) WHERE samples.topic IN ({_ALL_NAMES}) "
                "UNION ALL SELECT number, frame_digest FROM wanted JOIN samples USING(path)"
            )
            found.update(self._writer.execute(query, _flat(rows)))
        return found

    def pooled(self, keys: Sequence[tuple[str, int]]) -> dict[int, int]:
        """Look keys up among the samples without a label.

        Args:
            keys: Topic and stamp in ns; a camera's raw and compressed topic count as one.

        Returns:
            Id of the matching sample by position in `keys`.
        """
        found: dict[int, int] = {}
        for start in range(0, len(keys), _ROWS):
            rows = [
                (number, *_names(topic), stamp_ns)
                for number, (topic, stamp_ns) in enumerate(keys[start : start + _ROWS], start)
            ]
            query = (
                f"WITH wanted(number, {_NAMES}, stamp_ns) AS ({_values(rows)}) "
                "SELECT number, id FROM wanted JOIN samples USING(stamp_ns) "
                f"WHERE samples.topic IN ({_ALL_NAMES}) AND label = ''"
            )
            found.update(self._writer.execute(query, _flat(rows)))
        return found

    def insert(self, samples: Mapping[str, NewSample]) -> int:
        """Insert samples by path; return the id of the last one."""
        newest = 0
        rows = [
            (
                item.label,
                item.topic,
                item.stamp_ns,
                path,
                item.width,
                item.height,
                len(item.image_bytes),
                hashlib.sha256(item.image_bytes).hexdigest(),
                item.frame_digest,
            )
            for path, item in samples.items()
        ]
        for start in range(0, len(rows), _ROWS):
            part = rows[start : start + _ROWS]
            cursor = self._writer.execute(
                "INSERT INTO samples(label, topic, stamp_ns, path, width, height, size_bytes, "
                f"sha256, frame_digest) {_values(part)}",
                _flat(part),
            )
            newest = int(cursor.lastrowid or 0)
        return newest

    def relabel(self, label: str, moves: Mapping[str, str]) -> None:
        """Give samples a label, and new paths by their old ones."""
        self._writer.executemany(
            "UPDATE samples SET label = ?, path = ? WHERE path = ?",
            [(label, target, path) for path, target in moves.items()],
        )

    def delete(self, paths: Iterable[str]) -> None:
        """Delete the samples of these paths."""
        self._writer.executemany("DELETE FROM samples WHERE path = ?", [(path,) for path in paths])

    def add_verdicts(self, counts: Mapping[str, int]) -> None:
        """Add to the number of frames by verdict."""
        self._writer.executemany(
            "INSERT INTO verdicts VALUES(?, ?) "
            "ON CONFLICT(verdict) DO UPDATE SET frames = frames + excluded.frames",
            list(counts.items()),
        )

    def files(self, ids: Iterable[int]) -> list[StoredFile]:
        """Return the files of the samples with these ids; unknown ids are passed over."""
        found = (self._files("WHERE id = ?", number) for number in dict.fromkeys(ids))
        return [file for files in found for file in files]

    def files_of_label(self, label: str) -> list[StoredFile]:
        """Return the files of a label's samples, oldest capture first."""
        return self._files("WHERE label = ? ORDER BY stamp_ns, id", label)

    def paths_named(self, names: set[str]) -> list[str]:
        """Return the paths of the samples with these file names."""
        paths = self._writer.execute("SELECT path FROM samples")
        return [path for (path,) in paths if file_name(path) in names]

    def totals(self) -> list[tuple[str, int, int]]:
        """Return label, number of samples and size in bytes, for each label."""
        query = "SELECT label, COUNT(*), SUM(size_bytes) FROM samples GROUP BY label"
        return self._writer.execute(query).fetchall()

    def newest_id(self) -> int:
        """Return the id of the newest sample, 0 where there is none."""
        (newest,) = self._writer.execute("SELECT MAX(id) FROM samples").fetchone()
        return int(newest or 0)

    def _files(self, clause: str, value: int | str) -> list[StoredFile]:
        query = f"SELECT id, label, path, size_bytes, stamp_ns FROM samples {clause}"
        rows: Sequence[tuple[int, str, str, int, int]] = self._writer.execute(
            query, (value,)
        ).fetchall()
        return list(map(StoredFile._make, rows))

    def _upgrade(self) -> None:
        self._writer.execute("PRAGMA journal_mode = WAL")
        self._writer.execute("PRAGMA synchronous = FULL")
        with self.transaction():
            (version,) = self._writer.execute("PRAGMA user_version").fetchone()
            if version > SCHEMA_VERSION:
                raise DatasetError(
                    f"index {self._path} has schema version {version}; this program knows "
                    f"versions up to {SCHEMA_VERSION}; update it"
                )
            for statements in _UPGRADES[version:]:
                for statement in statements:
                    self._writer.execute(statement)
            self._writer.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            self.commit()

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(
            self._path,
            timeout=_BUSY_TIMEOUT_SEC,
            isolation_level=None,
            check_same_thread=False,
        )


def open_index(folder: Path, allow_orphans: bool) -> IndexWriter:
    """Open the index of a dataset, or create one.

    Args:
        folder: The dataset's folder.
        allow_orphans: Whether to create an index beside images that have lost theirs.

    Raises:
        DatasetError: The index is missing beside images, broken, of a newer version of this
            program, or cannot be opened.
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
        return IndexWriter(path)
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


@functools.lru_cache(maxsize=1024)
def _names(topic: str) -> tuple[str, str, str, str]:
    """Return the topics under which samples of a topic's camera may be stored."""
    sibling = sibling_topic(topic)
    recovered = [recovered_topic(hash_topic(name)) for name in (topic, sibling)]
    return topic, sibling, recovered[0], recovered[1]


def _values(rows: Sequence[tuple[object, ...]]) -> str:
    """Return an SQL VALUES clause with placeholders for rows of equal length."""
    row = f"({', '.join('?' * len(rows[0]))})"
    return f"VALUES {', '.join([row] * len(rows))}"


def _flat(rows: Sequence[tuple[object, ...]]) -> list[object]:
    return [value for row in rows for value in row]
