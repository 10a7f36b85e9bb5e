"""Read access to a dataset's index, one SQLite file."""

from __future__ import annotations

import sqlite3
import sys
import threading
from pathlib import Path

from fl_robot_ros.dataset.sample import Sample, SampleGroup
from fl_robot_ros.errors import DatasetError

SCHEMA_VERSION = 3


class IndexReader:
    """Owns a connection to an index. Safe for use from several threads.

    All methods raise sqlite3.Error where the file cannot be read.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Take over a connection.

        Args:
            connection: To an index of version `SCHEMA_VERSION`, for use by any thread.
        """
        self._reader = connection
        self._read_lock = threading.Lock()

    def close(self) -> None:
        """Close the connection. May be called twice."""
        with self._read_lock:
            self._reader.close()

    def samples(self, *, has_label: bool, max_id: int = sys.maxsize) -> list[Sample]:
        """Return the samples with or without a label, up to an id, in the order of their ids."""
        query = (
            "SELECT id, label, topic, stamp_ns, path, sha256 FROM samples "
            f"WHERE label {'!=' if has_label else '='} '' AND id <= ? ORDER BY id"
        )
        with self._read_lock:
            return list(map(Sample._make, self._reader.execute(query, (max_id,))))

    def num_labelled_after(self, id_: int) -> int:
        """Return the number of samples with a label that were stored after one."""
        query = "SELECT COUNT(*) FROM samples WHERE id > ? AND label != ''"
        with self._read_lock:
            return int(self._reader.execute(query, (id_,)).fetchone()[0])

    def groups(self) -> list[SampleGroup]:
        """Return the samples counted by label and camera, in the order of both."""
        query = (
            "SELECT label, topic, COUNT(*), SUM(size_bytes), MIN(stamp_ns), MAX(stamp_ns) "
            "FROM samples GROUP BY label, topic ORDER BY label, topic"
        )
        with self._read_lock:
            return list(map(SampleGroup._make, self._reader.execute(query)))

    def verdicts(self) -> dict[str, int]:
        """Return the number of frames by verdict."""
        with self._read_lock:
            return dict(self._reader.execute("SELECT verdict, frames FROM verdicts ORDER BY 1"))


def read_index(path: Path) -> IndexReader:
    """Open an index for reading, also on a read-only disk.

    Raises:
        DatasetError: The index has another schema version, or was not closed, and its disk is
            read-only: SQLite must write to read the newest changes.
        sqlite3.Error: There is no index, or it is broken.
    """
    try:
        return _read(path, "mode=ro")
    except sqlite3.OperationalError:
        # SQLite writes a file beside an index unless the index is declared unchanging.
        log = path.with_name(f"{path.name}-wal")
        if log.exists() and log.stat().st_size:
            raise DatasetError(
                f"index {path} was not closed; copy the dataset to where it can be written"
            ) from None
        return _read(path, "immutable=1")


def _read(path: Path, how: str) -> IndexReader:
    uri = f"{path.absolute().as_uri()}?{how}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version != SCHEMA_VERSION:
            raise DatasetError(
                f"index {path} has schema version {version}; this program reads version "
                f"{SCHEMA_VERSION}, and brings older ones up to date where they can be written"
            )
    except BaseException:
        connection.close()
        raise
    return IndexReader(connection)
