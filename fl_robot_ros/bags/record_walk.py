"""Walks from record to record of a damaged file, and over what is no record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO, Protocol, TypeVar

from fl_robot_ros.bags.recorded_message import Salvage

_BLOCK_BYTES = 1 << 20


class Record(Protocol):
    """A record; one that ends behind the end of its file is cut off."""

    @property
    def end(self) -> int:
        """Position of the byte after it."""


RecordT = TypeVar("RecordT", bound=Record)


def walk_records(
    start: int,
    size: int,
    record_at: Callable[[int], RecordT | None],
    find_next: Callable[[int], int],
    salvage: Salvage,
) -> Iterator[RecordT]:
    """Yield the records of a file in their order.

    A record counts as whole if another one or the end of the file follows it, or if nothing
    inside it looks like a record. Every byte is looked at a constant number of times.

    Args:
        start: Position of the first record.
        size: Size of the file.
        record_at: Returns the record at a position, None where there is none that makes sense.
        find_next: Returns the first position from one on where a record begins, else the size.
        salvage: Is told what was skipped.
    """
    position = start
    found = start
    record = record_at(position) if position < size else None
    while position < size:
        following = None
        if record is not None and record.end < size:
            following = record_at(record.end)
            if following is None:
                found = found if found > position else find_next(position + 1)
                record = record if found >= record.end else None
        if record is None:
            found = found if found > position else find_next(position + 1)
            if found < size:
                salvage.note(f"it is damaged at byte {position}")
            salvage.skipped_bytes += found - position
            position = found
            record = record_at(position) if position < size else None
            continue
        yield record
        position = record.end
        record = following


def blocks_from(file: BinaryIO, position: int, overlap: int) -> Iterator[tuple[int, bytes]]:
    """Yield the blocks of a file from a position on, each with its position.

    Args:
        file: The file.
        position: Where to begin.
        overlap: How many of the last bytes of a block the next one begins with.
    """
    while True:
        file.seek(position)
        block = file.read(_BLOCK_BYTES)
        yield position, block
        if len(block) < _BLOCK_BYTES:
            return
        position += len(block) - overlap
