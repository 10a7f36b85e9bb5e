"""Bags that are damaged at random, or made to harm, end in frames or in one clear error."""

from __future__ import annotations

import bz2
import contextlib
import os
import sqlite3
import struct
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import lz4.frame
import pytest
from bag_recorder import Item, drive, make_image, record, record_ros1
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcap_builder import McapBuilder, chunk_of, record_of
from rosbags.rosbag1 import Writer
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2.enums import CompressionMode

from fl_robot_ros.bags import bag_storage, decompression, mcap_index, mcap_storage
from fl_robot_ros.bags.bag import open_bag
from fl_robot_ros.bags.bag_topic import Topic
from fl_robot_ros.bags.decompression import unpacked_bytes
from fl_robot_ros.bags.sqlite_storage import SqliteStorage
from fl_robot_ros.bags.storage import RecordedMessage
from fl_robot_ros.bags.time_order import MAX_HELD_BYTES, in_time_order
from fl_robot_ros.errors import BagError, DamagedError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MANY = 4 << 20
# A bag of some 20 KB must not take more than this, whatever it says of itself.
MOST_BYTES = 32 << 20


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, bytes]]:
    """Return name and content of a small bag of every kind."""
    folder = tmp_path_factory.mktemp("bags")
    items = drive(6) + drive(2, topic="/rear", compressed=True, labels=["x"])
    files = [record_ros1(folder / "none.bag", items, None, 4000)]
    for compression in Writer.CompressionFormat:
        files.append(record_ros1(folder / f"{compression.name}.bag", items, compression, 4000))
    for storage in StoragePlugin:
        for mode in CompressionMode:
            if (storage, mode) != (StoragePlugin.SQLITE3, CompressionMode.STORAGE):
                path = folder / f"{storage.name}_{mode.name}"
                files.append(record(path, items, storage, mode))
    files.append(record(folder / "lz4", items, lz4_chunks=True))
    files.append(folder / "chunks.mcap")
    files[-1].write_bytes(odd_mcap(items))
    return [("bag" + "".join(file.suffixes), file.read_bytes()) for file in files]


def odd_mcap(items: list[Item]) -> bytes:
    """Return an mcap file with chunks out of order, and messages outside of them."""
    mcap = McapBuilder()
    mcap.add_chunk(items[6:], "lz4")
    mcap.add_chunk(items[2:6], "zstd")
    for item in items[:2]:
        mcap.add(item)
    return mcap.finish()


@st.composite
def mutations(draw: st.DrawFn) -> list[tuple[str, float, int, bytes]]:
    """Draw what to do to a file: kind, place as a share of the file, length, bytes."""
    kind = st.sampled_from(["flip", "cut", "insert", "zero", "write", "repeat"])
    number = st.sampled_from([b"\0" * 8, b"\xff" * 4, b"\xff" * 8, struct.pack("<Q", 1 << 31)])
    content = st.one_of(number, st.binary(min_size=1, max_size=9))
    place = st.floats(0, 1, exclude_max=True)
    return draw(
        st.lists(st.tuples(kind, place, st.integers(1, 5000), content), min_size=1, max_size=5)
    )


def mutated(content: bytes, changes: list[tuple[str, float, int, bytes]]) -> bytes:
    changed = bytearray(content)
    for kind, share, length, data in changes:
        at = int(share * len(changed))
        if kind == "flip" and changed:
            changed[at] ^= 1 << length % 8
        elif kind == "cut":
            del changed[at : at + length]
        elif kind == "insert":
            changed[at:at] = data * (length // 100 + 1)
        elif kind == "zero":
            changed[at : at + length] = bytes(len(changed[at : at + length]))
        elif kind == "write":
            changed[at : at + len(data)] = data
        elif kind == "repeat":
            changed[at:at] = changed[at : at + length]
    return bytes(changed)


@settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(kind=st.integers(0, 99), changes=mutations())
def test_damage_ends_in_frames_or_one_clear_error(
    tmp_path: Path,
    bags: list[tuple[str, bytes]],
    kind: int,
    changes: list[tuple[str, float, int, bytes]],
) -> None:
    name, content = bags[kind % len(bags)]
    file = tmp_path / name
    file.write_bytes(mutated(content, changes))
    before = sorted(tmp_path.iterdir())
    tracemalloc.start()
    try:
        with contextlib.suppress(BagError):
            list(open_bag(file))
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
    finally:
        tracemalloc.stop()
        file.unlink()
    assert sorted(tmp_path.iterdir()) == [item for item in before if item != file]


@pytest.mark.parametrize("compression", ["zstd", "lz4", "bz2"])
def test_bomb_is_not_unpacked(compression: str) -> None:
    modules = {"zstd": zstd, "lz4": lz4.frame, "bz2": bz2}
    compress = modules[compression].compress
    bomb = compress(bytes(MANY))
    with pytest.raises(DamagedError, match="more than 1000 bytes"):
        unpacked_bytes(bomb, compression, 1000)
    assert unpacked_bytes(bomb, compression, MANY) == bytes(MANY)
    # What is cut gives what is there.
    assert len(unpacked_bytes(bomb[: len(bomb) // 2], compression, MANY)) < MANY


@pytest.mark.parametrize("storage", list(StoragePlugin))
def test_message_that_unpacks_to_too_much_is_a_broken_message(
    tmp_path: Path, storage: StoragePlugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [*drive(4), Item("/camera/image_raw", 1, make_image(0, 500, 500))]
    record(tmp_path / "bag", items, storage, CompressionMode.MESSAGE)
    monkeypatch.setattr(bag_storage, "MAX_UNPACKED_BYTES", 100_000)
    reading = open_bag(tmp_path / "bag")
    list(reading)
    assert reading.report.frames_read == 4
    assert "is broken" in reading.report.loss


@pytest.mark.parametrize("storage", list(StoragePlugin))
def test_messages_wait_with_the_size_that_they_claim(
    tmp_path: Path, storage: StoragePlugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(tmp_path / "bag", drive(4), storage, CompressionMode.MESSAGE)
    claimed = []

    def spy(packed: bytes | memoryview, compression: str, max_bytes: int) -> bytes:
        content = unpacked_bytes(packed, compression, max_bytes)
        claimed.append((max_bytes, len(content)))
        return content

    monkeypatch.setattr(decompression, "unpacked_bytes", spy)
    reading = open_bag(tmp_path / "bag")
    list(reading)
    assert reading.report.frames_read == 4
    assert len(claimed) == 6
    assert all(size == actual for size, actual in claimed)


def mcap_bomb() -> bytes:
    """Return an mcap file with channels of long names in compressed chunks."""
    name = struct.pack("<I", MANY) + b"a" * MANY
    cdr = struct.pack("<I", 3) + b"cdr" + bytes(4)
    parts = [mcap_index.MCAP_MAGIC]
    for number in range(20):
        schema = struct.pack("<H", number + 1) + name + bytes(8)
        channel = struct.pack("<HH", number, number + 1) + name + cdr
        records = record_of(3, schema) + record_of(4, channel)
        parts.append(chunk_of(records, [0], "zstd"))
    return b"".join(parts)


def test_long_names_are_damage_and_not_kept(tmp_path: Path) -> None:
    file = tmp_path / "bomb.mcap"
    file.write_bytes(mcap_bomb())
    assert file.stat().st_size < 100_000
    tracemalloc.start()
    try:
        with pytest.raises(BagError, match=f"{MANY} bytes"):
            list(open_bag(file))
        assert tracemalloc.get_traced_memory()[1] < 2 * MOST_BYTES
    finally:
        tracemalloc.stop()


def test_chunks_that_unpack_to_much_are_not_in_memory_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Eight threads, each of which would have a chunk.
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    size = 48 << 20
    chunk = chunk_of(record_of(5, bytes(size)), [0], "zstd")
    file = tmp_path / "bomb.mcap"
    file.write_bytes(mcap_index.MCAP_MAGIC + chunk * 10)
    tracemalloc.start()
    try:
        with pytest.raises(BagError):
            list(open_bag(file))
        # A thread may let go of its chunk a little later than the next one begins.
        assert tracemalloc.get_traced_memory()[1] < 3.5 * size
    finally:
        tracemalloc.stop()


def test_row_that_takes_no_room_in_the_file_is_damage(tmp_path: Path) -> None:
    file = record(tmp_path / "bag", drive(4, labels=["x"]), StoragePlugin.SQLITE3)
    with contextlib.closing(sqlite3.connect(file)) as bag, bag:
        bag.execute("ALTER TABLE messages RENAME COLUMN data TO kept")
        bag.execute(
            "ALTER TABLE messages ADD COLUMN data BLOB AS "
            "(CASE id WHEN 3 THEN zeroblob(300000000) ELSE kept END)"
        )
    reading = open_bag(file)
    list(reading)
    assert (reading.report.frames_read, reading.report.labels_read) == (3, 1)
    assert "it is damaged at message 3: string or blob too big" in reading.report.loss


def test_long_topic_of_a_database_is_left_out(tmp_path: Path) -> None:
    file = record(tmp_path / "bag", drive(4), StoragePlugin.SQLITE3)
    with contextlib.closing(sqlite3.connect(file)) as bag, bag:
        bag.execute(
            "INSERT INTO topics SELECT 99, CAST(zeroblob(5000) AS TEXT), type, "
            "serialization_format, offered_qos_profiles, type_description_hash FROM topics LIMIT 1"
        )
    assert len(SqliteStorage(file).summary().topics or {}) == 2


def test_chunk_that_claims_too_much_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = record(tmp_path / "bag", drive(40, size=(120, 160)), lz4_chunks=True)
    monkeypatch.setattr(mcap_storage, "MAX_UNPACKED_BYTES", 1_040_000)
    reading = open_bag(file)
    list(reading)
    assert "a chunk is damaged: it claims to hold" in reading.report.loss
    assert reading.report.frames_read < 40


def test_file_that_unpacks_to_too_much_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = record(tmp_path / "bag", drive(40, size=(120, 160)), compression=CompressionMode.FILE)
    monkeypatch.setattr(decompression, "_FREE_UNPACKED_BYTES", 1 << 20)
    monkeypatch.setattr(decompression, "_MAX_UNPACKED_SHARE", 0)
    reading = open_bag(file)
    list(reading)
    assert 15 <= reading.report.frames_read < 40
    assert "unpacks to more than" in reading.report.loss


def test_only_so_much_is_held_in_memory() -> None:
    size = MAX_HELD_BYTES // 10
    held = 0
    most = 0

    def messages(start: int) -> list[RecordedMessage]:
        return [RecordedMessage(Topic("/a", "b"), start, bytes(size))]

    def chunks() -> Iterator[tuple[int, list[RecordedMessage]]]:
        nonlocal held, most
        for number in range(100):
            held += 1
            most = max(most, held)
            # All of them claim to begin at 0, so that none could go out.
            yield 0, messages(1000 - number)

    count = 0
    for _ in in_time_order(chunks()):
        held -= 1
        count += 1
    assert count == 100
    assert most <= 11


@pytest.mark.parametrize("storage", list(StoragePlugin))
def test_hostile_sizes_in_an_image_are_a_broken_message(
    tmp_path: Path, storage: StoragePlugin
) -> None:
    file = record(tmp_path / "bag", drive(10), storage)
    content = file.read_bytes()
    # Bytes in a row and in all, as they stand before the pixels.
    sizes = struct.pack("<II", 32 * 3, 24 * 32 * 3)
    assert content.count(sizes) == 10
    for hostile in (0xFFFFFFFF, 0x7FFFFFFF, 24 * 32 * 3 + 1):
        file.write_bytes(content.replace(sizes, struct.pack("<II", 32 * 3, hostile), 1))
        reading = open_bag(file)
        list(reading)
        assert reading.report.frames_read == 9
        assert "is broken" in reading.report.loss
