"""Reads rosbag2 databases, whole, damaged, or with a log that was not written back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from fl_robot_ros.bags.recorded_message import (
    MAX_NAME_BYTES,
    FileSummary,
    RecordedMessage,
    Salvage,
    Wanted,
    type_as,
)

# Rows that cannot be read are stepped over one by one, after so many in ever larger steps.
_SINGLE_STEPS = 100
_MAX_ID = 1 << 62
_MAX_MESSAGE_BYTES = 1 << 28
# What a page has beside the data of a message that fits into it, at most.
_MAX_CELL_BYTES = 128


class _Place(NamedTuple):
    """A message's time in ns and its row, in the order of reading."""

    recorded_ns: int
    row: int


def read_sqlite_summary(path: Path) -> FileSummary:
    """Return what the file says of itself; nothing where it is damaged."""
    counts: Counter[tuple[str, str]] = Counter()
    try:
        with closing(_connect(path)) as bag:
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


def read_sqlite_records(path: Path, wanted: Wanted, salvage: Salvage) -> Iterator[RecordedMessage]:
    """Yield the wanted messages by time, and what damage hides from that in the order of storage.

    One message is held at a time, and in a file that is cut, the labels behind it.

    Args:
        path: The database; a write-ahead log beside it is read too. Nothing is written.
        wanted: Chooses messages by topic and type.
        salvage: Is told what was lost.

    Raises:
        OSError: The file cannot be read.
    """
    messages = _read(path, wanted, salvage)
    page_bytes = _cut_page_bytes(path)
    return _without_cut_one(messages, path, page_bytes, salvage) if page_bytes else messages


def _cut_page_bytes(path: Path) -> int:
    """Return the page size of a database that ends in mid-page, 0 for every other."""
    with path.open("rb") as file:
        header = file.read(18)
    # A page size of 64 KiB is written as 1.
    page_bytes = int.from_bytes(header[16:18], "big")
    page_bytes = 1 << 16 if page_bytes == 1 else page_bytes
    return page_bytes if page_bytes and path.stat().st_size % page_bytes else 0


def _without_cut_one(
    messages: Iterator[RecordedMessage], path: Path, page_bytes: int, salvage: Salvage
) -> Iterator[RecordedMessage]:
    """Leave out the message that the end of the file cuts: SQLite fills up its page with 0.

    That is a small one that would reach beyond the end, or perhaps the last of several pages.
    """
    with path.open("rb") as file:
        file.seek(path.stat().st_size // page_bytes * page_bytes)
        last_page = file.read(page_bytes)
    held: list[RecordedMessage] = []
    for message in messages:
        if len(message.data) >= page_bytes - _MAX_CELL_BYTES:
            yield from held
            held = [message]
        elif _is_cut(bytes(message.data), last_page):
            continue
        elif held:
            held.append(message)
        else:
            yield message
    salvage.note("it ends in mid-recording")
    yield from held[1:]


def _is_cut(data: bytes, last_page: bytes) -> bool:
    """Say whether a message lies at the end of a page that is cut, and would reach beyond it."""
    place = last_page.rfind(data.rstrip(b"\0"))
    return place >= 0 and place + len(data) > len(last_page)


def _read(path: Path, wanted: Wanted, salvage: Salvage) -> Iterator[RecordedMessage]:
    try:
        with closing(_connect(path)) as bag:
            topics = {number: topic for number, topic in _topics(bag).items() if wanted(*topic)}
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
    except apsw.Error as error:
        salvage.note(f"it is not a readable database: {error}")


def _connect(path: Path) -> apsw.Connection:
    # Without a log nothing needs locks or further files, so a folder of any rights will do; with
    # one, only a file system without locks keeps SQLite from leaving a file beside the database.
    has_log = path.with_name(f"{path.name}-wal").exists()
    mode = "mode=ro&vfs=unix-none" if has_log else "mode=ro&immutable=1"
    # Not Python's sqlite3, whose library reads large messages with twice the work on most systems.
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    bag = apsw.Connection(f"{path.absolute().as_uri()}?{mode}", flags=flags)
    try:
        # A generated column takes no room in the file, and as much memory as it likes.
        bag.limit(apsw.SQLITE_LIMIT_LENGTH, _MAX_MESSAGE_BYTES)
        bag.execute("PRAGMA locking_mode = EXCLUSIVE")
        # SQLite refuses files that are shorter than their header says, but for this switch.
        bag.execute("PRAGMA writable_schema = ON")
        tables = _rows(bag, "SELECT CAST(name AS BLOB) FROM sqlite_master WHERE type = 'table'")
        if not {(b"messages",), (b"topics",)} <= set(tables):
            raise apsw.CorruptError("it has no tables of messages and topics")
    except apsw.Error:
        bag.close()
        raise
    return bag


def _topics(bag: apsw.Connection) -> dict[int, tuple[str, str]]:
    # As bytes, since a damaged text may be no UTF-8.
    rows = _rows(
        bag,
        "SELECT id, CAST(name AS BLOB), CAST(type AS BLOB), CAST(serialization_format AS BLOB) "
        "FROM topics",
    )
    topics = {}
    for number, *names in rows:
        if all(name is not None and len(name) <= MAX_NAME_BYTES for name in names):
            topic, message_type, serialization = (name.decode(errors="replace") for name in names)
            topics[number] = topic, type_as(message_type, serialization)
    return topics


def _by_time(bag: apsw.Connection) -> Iterator[tuple[_Place, int]]:
    """Yield the messages' places and topics; their data is left out, as SQLite may sort them."""
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
    bag: apsw.Connection, place: _Place, topic: tuple[str, str], salvage: Salvage
) -> Iterator[RecordedMessage]:
    try:
        data = [
            data for (data,) in _rows(bag, "SELECT data FROM messages WHERE id = ?", place.row)
        ]
    except apsw.Error as error:
        salvage.note(f"it is damaged at message {place.row}: {error}")
        return
    if data and isinstance(data[0], bytes):
        yield RecordedMessage(*topic, place.recorded_ns, data[0])


def _rows(bag: apsw.Connection, query: str, *values: int) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a query.

    Raises:
        apsw.Error: The file is damaged.
    """
    try:
        yield from bag.execute(query, values)
    except UnicodeDecodeError as error:
        # A number or a blob that became a text.
        raise apsw.CorruptError(f"a text is damaged: {error}") from error
