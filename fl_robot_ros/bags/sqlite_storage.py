"""Reads rosbag2 databases: whole, damaged, or with an unmerged write-ahead log."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from fl_robot_ros.bags.bag_topic import MAX_NAME_BYTES, Topic, Wanted, topic_of
from fl_robot_ros.bags.storage import FileSummary, RecordedMessage, Salvage

# Unreadable rows are skipped one by one, after so many in ever larger steps.
_SINGLE_STEPS = 100
_MAX_ID = 1 << 62
_MAX_MESSAGE_BYTES = 1 << 28


class _Place(NamedTuple):
    """A message's time in ns and its row, in the order of reading."""

    recorded_ns: int
    row: int


class SqliteStorage:
    """A database of rosbag2, as a `Storage`; a write-ahead log beside it is read too."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def summary(self) -> FileSummary:
        """Return the file's summary, see `Storage.summary`."""
        counts: Counter[Topic] = Counter()
        try:
            with closing(_connect(self._path)) as bag:
                topics = _topics(bag)
                by_number = dict(
                    _rows(bag, "SELECT topic_id, COUNT(*) FROM messages GROUP BY topic_id")
                )
                ((start_ns,),) = _rows(bag, "SELECT MIN(timestamp) FROM messages")
        except apsw.Error:
            return FileSummary()
        for number, topic in topics.items():
            counts[topic] += int(by_number.get(number, 0))
        return FileSummary(dict(counts), start_ns if isinstance(start_ns, int) else None)

    def messages(self, wanted: Wanted, salvage: Salvage) -> Iterator[RecordedMessage]:
        """Yield the wanted messages by time; behind damage, in the order of rows.

        Memory holds one message, or one page of messages. Nothing is written.
        """
        try:
            with closing(_connect(self._path)) as bag:
                messages = _messages(bag, wanted, salvage)
                page_bytes = int(bag.pragma("page_size"))
                if self._path.stat().st_size % page_bytes == 0:
                    yield from messages
                else:
                    yield from _without_last_page(messages, page_bytes)
                    salvage.note("it ends in mid-recording")
        except apsw.Error as error:
            salvage.note(f"it is not a readable database: {error}")


def _messages(bag: apsw.Connection, wanted: Wanted, salvage: Salvage) -> Iterator[RecordedMessage]:
    topics = {number: topic for number, topic in _topics(bag).items() if wanted(topic)}
    last = _Place(-_MAX_ID, -_MAX_ID)
    try:
        for place, number in _by_time(bag):
            last = place
            if number in topics:
                yield from _message(bag, place, topics[number], salvage)
        return
    except apsw.Error as error:
        salvage.note(f"it is damaged: {error}")
    for place, number in _by_row(bag):
        if number in topics and place > last:
            yield from _message(bag, place, topics[number], salvage)


def _without_last_page(
    messages: Iterator[RecordedMessage], page_bytes: int
) -> Iterator[RecordedMessage]:
    """Leave out messages that may be on the last, cut page: SQLite pads it with zeros."""
    held: deque[RecordedMessage] = deque()
    held_bytes = 0
    for message in messages:
        held.append(message)
        held_bytes += len(message.data)
        while held_bytes - len(held[0].data) >= page_bytes:
            held_bytes -= len(held[0].data)
            yield held.popleft()


def _connect(path: Path) -> apsw.Connection:
    # Without a log SQLite needs no locks and no other files, so a read-only folder will do. With
    # one, only the VFS without locks keeps SQLite from leaving a file beside the database.
    has_log = path.with_name(f"{path.name}-wal").exists()
    mode = "mode=ro&vfs=unix-none" if has_log else "mode=ro&immutable=1"
    # Not sqlite3: on most systems its library takes twice as long to read large messages.
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    bag = apsw.Connection(f"{path.absolute().as_uri()}?{mode}", flags=flags)
    try:
        # A generated column takes no room in the file, but any amount of memory.
        bag.limit(apsw.SQLITE_LIMIT_LENGTH, _MAX_MESSAGE_BYTES)
        bag.execute("PRAGMA locking_mode = EXCLUSIVE")
        # Without this, SQLite refuses files that are shorter than their header says.
        bag.execute("PRAGMA writable_schema = ON")
        tables = _rows(bag, "SELECT CAST(name AS BLOB) FROM sqlite_master WHERE type = 'table'")
        if not {(b"messages",), (b"topics",)} <= set(tables):
            raise apsw.CorruptError("it has no tables of messages and topics")
    except apsw.Error:
        bag.close()
        raise
    return bag


def _topics(bag: apsw.Connection) -> dict[int, Topic]:
    # As bytes, because a damaged text may be invalid UTF-8.
    rows = _rows(
        bag,
        "SELECT id, CAST(name AS BLOB), CAST(type AS BLOB), CAST(serialization_format AS BLOB) "
        "FROM topics",
    )
    topics = {}
    for number, *names in rows:
        if all(name is not None and len(name) <= MAX_NAME_BYTES for name in names):
            topics[number] = topic_of(*(name.decode(errors="replace") for name in names))
    return topics


def _by_time(bag: apsw.Connection) -> Iterator[tuple[_Place, int]]:
    """Yield the messages' places and topics, without their data, because SQLite may sort them."""
    last = _Place(-_MAX_ID, -_MAX_ID)
    for recorded_ns, row, topic in _rows(
        bag, "SELECT timestamp, id, topic_id FROM messages ORDER BY timestamp, id"
    ):
        if not isinstance(recorded_ns, int) or last >= (recorded_ns, row):
            raise apsw.CorruptError("its index is out of order")
        last = _Place(recorded_ns, row)
        yield last, topic


def _by_row(bag: apsw.Connection) -> Iterator[tuple[_Place, int]]:
    last_row = -1
    unreadable = 0
    while last_row < _MAX_ID:
        try:
            for row, recorded_ns, topic in _rows(
                bag,
                "SELECT id, timestamp, topic_id FROM messages WHERE id > ? ORDER BY id",
                last_row,
            ):
                if row <= last_row:
                    raise apsw.CorruptError("its rows are out of order")
                last_row = row
                unreadable = 0
                if isinstance(recorded_ns, int):
                    yield _Place(recorded_ns, row), topic
            return
        except apsw.Error:
            unreadable += 1
            last_row += 1 << max(0, unreadable - _SINGLE_STEPS)


def _message(
    bag: apsw.Connection, place: _Place, topic: Topic, salvage: Salvage
) -> Iterator[RecordedMessage]:
    try:
        data = [
            data for (data,) in _rows(bag, "SELECT data FROM messages WHERE id = ?", place.row)
        ]
    except apsw.Error as error:
        salvage.note(f"it is damaged at message {place.row}: {error}")
        return
    if data and isinstance(data[0], bytes):
        yield RecordedMessage(topic, place.recorded_ns, data[0])


def _rows(bag: apsw.Connection, query: str, *values: int) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a query.

    Raises:
        apsw.Error: The file is damaged.
    """
    try:
        yield from bag.execute(query, values)
    except UnicodeDecodeError as error:
        # Damage turned a number or a blob into a text.
        raise apsw.CorruptError(f"a text is damaged: {error}") from error
