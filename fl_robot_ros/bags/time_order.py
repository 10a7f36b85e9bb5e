"""Merges the messages of chunks that overlap in time."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator

from fl_robot_ros.bags.storage import RecordedMessage

# Above this, the oldest messages go out, even if a later chunk may bring older ones.
MAX_HELD_BYTES = 1 << 26
# Memory of a message beside its data, about.
_OVERHEAD_BYTES = 256


def in_time_order(
    chunks: Iterable[tuple[int, Iterable[RecordedMessage]]],
) -> Iterator[RecordedMessage]:
    """Yield the messages of chunks in the order of their times.

    At most 64 MiB of messages, and one more, are held at a time.

    Args:
        chunks: Start time in ns and messages of each chunk, best in the order of these times.
    """
    held: list[tuple[int, int, RecordedMessage]] = []
    held_bytes = 0
    number = 0

    def oldest() -> RecordedMessage:
        nonlocal held_bytes
        message = heapq.heappop(held)[2]
        held_bytes -= len(message.data) + _OVERHEAD_BYTES
        return message

    for start_ns, messages in chunks:
        while held and held[0][0] < start_ns:
            yield oldest()
        for message in messages:
            heapq.heappush(held, (message.recorded_ns, number, message))
            number += 1
            held_bytes += len(message.data) + _OVERHEAD_BYTES
            while held_bytes > MAX_HELD_BYTES:
                yield oldest()
    while held:
        yield oldest()
