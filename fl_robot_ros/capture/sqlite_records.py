"""Reads rosbag2 databases whose index or end is damaged, or whose log was not written back."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from fl_robot_ros.capture.recorded_message import RecordedMessage, Salvage, Wanted

# A row that cannot be read is stepped over; after so many in a row nothing more is expected.
_MAX_UNREADABLE_ROWS = 100


def read_sqlite_records(path: Path, wanted: Wanted, salvage: Salvage) -> Iterator[RecordedMessage]:
    """Yield the wanted messages in the order in which they were stored, as far as readable.

    Args:
        path: The database; a write-ahead log beside it is read too.
        wanted: Chooses messages by topic and type.
        salvage: Is told what was lost.
    """
    # Without a log nothing needs locks or further files, so a folder of any rights will do.
    mode = "mode=ro" if _log_of(path).exists() else "mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)) as bag:
            # SQLite refuses files that are shorter than their header says, but for this switch.
            bag.execute("PRAGMA writable_schema = ON")
            topics = {
                number: (topic, message_type)
                for number, topic, message_type, serialization in bag.execute(
                    "SELECT id, name, type, serialization_format FROM topics"
                )
                if serialization == "cdr" and wanted(topic, message_type)
            }
            yield from _rows(bag, topics, salvage)
    except sqlite3.Error as error:
        salvage.note(f"it is not a readable database: {error}")


def has_unmerged_log(path: Path) -> bool:
    """Say whether a write-ahead log with content lies beside a database."""
    log = _log_of(path)
    return log.exists() and log.stat().st_size > 0


def _log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _rows(
    bag: sqlite3.Connection, topics: dict[int, tuple[str, str]], salvage: Salvage
) -> Iterator[RecordedMessage]:
    last_id = -1
    unreadable = 0
    while unreadable < _MAX_UNREADABLE_ROWS:
        try:
            for number, topic, recorded_ns, data in bag.execute(
                "SELECT id, topic_id, timestamp, data FROM messages WHERE id > ? ORDER BY id",
                (last_id,),
            ):
                last_id = number
                unreadable = 0
                if topic in topics and isinstance(data, bytes) and isinstance(recorded_ns, int):
                    yield RecordedMessage(*topics[topic], recorded_ns, data)
            return
        except sqlite3.DatabaseError as error:
            salvage.note(f"it is damaged after message {last_id}: {error}")
            last_id += 1
            unreadable += 1
