"""Unpacking ahead of need: the order stays, and damage is told where it lies."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import lz4.frame
import pytest

from fl_robot_ros.bags import decompression
from fl_robot_ros.bags.decompression import Packed, unpacked_ahead, unpacked_bytes
from fl_robot_ros.errors import DamagedError

Item = bytes | str
MAX_BYTES = 100_000


def packed_in(item: Item) -> Packed | None:
    """Return what bytes hold; a text holds nothing."""
    return Packed(item, "lz4", MAX_BYTES) if isinstance(item, bytes) else None


def packed(number: int, size: int = 10) -> bytes:
    return bytes(lz4.frame.compress(b"%d " % number + bytes(size)))


def test_items_come_in_their_order_with_what_they_hold() -> None:
    sizes = random.Random(1)
    items: list[Item] = [
        f"{number}" if number % 7 == 0 else packed(number, sizes.randrange(90_000))
        for number in range(200)
    ]
    found = []
    for number, (item, unpacking) in enumerate(unpacked_ahead(items, packed_in)):
        assert item is items[number]
        content = item if unpacking is None else unpacking.result().split()[0].decode()
        found.append(str(content))
    assert found == [f"{number}" for number in range(200)]


def test_damage_is_told_at_the_damaged_item_alone() -> None:
    items = [packed(number) for number in range(9)]
    items[4] = items[4][:7] + b"\xff" + items[4][8:]
    items[6] = packed(6, size=2 * MAX_BYTES)
    damaged = []
    for number, (_, unpacking) in enumerate(unpacked_ahead(items, packed_in)):
        assert unpacking is not None
        try:
            assert unpacking.result().split()[0] == b"%d" % number
        except DamagedError:
            damaged.append(number)
    assert damaged == [4, 6]


@pytest.mark.parametrize("size", [10, 40_000_000])
def test_only_so_much_is_taken_ahead(size: int) -> None:
    taken = 0

    def items() -> Iterator[Item]:
        nonlocal taken
        for _ in range(50):
            taken += 1
            yield os.urandom(size)

    for number, _ in enumerate(unpacked_ahead(items(), packed_in)):
        most = len(os.sched_getaffinity(0)) if size == 10 else 1
        assert taken <= number + 1 + most
        if number == 5:
            break


@pytest.mark.parametrize("held", [100, 40_000_000])
def test_what_small_data_unpacks_to_counts(monkeypatch: pytest.MonkeyPatch, held: int) -> None:
    begun = 0

    def begin(_: bytes, __: str, max_bytes: int) -> bytes:
        nonlocal begun
        begun += 1
        return b""

    monkeypatch.setattr(decompression, "unpacked_bytes", begin)
    items = [b"packed"] * 50
    unpacked = unpacked_ahead(items, lambda item: Packed(item, "lz4", held))
    for number, (_, unpacking) in enumerate(unpacked):
        assert unpacking is not None
        unpacking.result()
        if held > 100:
            assert begun == number + 1
    assert begun == 50


def test_large_data_is_unpacked_whole() -> None:
    content = random.Random(1).randbytes(1 << 20) * 40
    compressed = lz4.frame.compress(content)
    assert unpacked_bytes(compressed, "lz4", len(content)) == content
    with pytest.raises(DamagedError, match="more than"):
        unpacked_bytes(compressed, "lz4", len(content) - 1)


def test_nothing_is_taken_ahead_of_what_is_not_compressed() -> None:
    asked: list[str] = []

    def items() -> Iterator[Item]:
        for name in "abc":
            asked.append(name)
            yield name

    for item, _ in unpacked_ahead(items(), packed_in):
        assert asked[-1] == item
