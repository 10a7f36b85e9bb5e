"""mcap files with chunks in any order, and messages outside of them."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from bag_reader import read
from bag_recorder import drive, images_of
from mcap_builder import COMPRESS, McapBuilder, record_of, text

from fl_robot_ros.bags.bag import open_bag
from fl_robot_ros.bags.mcap_index import CHUNK


@pytest.mark.parametrize("compression", ["", "zstd", "lz4"])
@pytest.mark.parametrize("outside", ["first", "middle", "last"])
def test_messages_outside_of_chunks_that_are_out_of_order_are_read(
    tmp_path: Path, compression: str, outside: str
) -> None:
    items = drive(60)
    frames = images_of(items)
    labels = [item for item in items if isinstance(item.content, str)]
    mcap = McapBuilder()
    for number, start in enumerate([40, 0, 20]):
        if number == ["first", "middle", "last"].index(outside):
            for label in labels:
                mcap.add(label)
            mcap.add(frames[19])
        chunk = frames[start : start + 20]
        mcap.add_chunk([item for item in chunk if item is not frames[19]], compression)
    file = tmp_path / "drive.mcap"
    file.write_bytes(mcap.finish())
    reading = open_bag(file)
    assert [item.published_ns for item in reading] == [item.time_ns for item in items]
    assert reading.report.complete


SUMMARIES = [
    "schemas channels statistics chunks",
    "schemas channels chunks statistics",
    "schemas channels chunks",
    "schemas channels statistics",
    "channels statistics chunks",
    "channels chunks",
    "statistics chunks",
    "chunks",
    "statistics",
    "",
]


@pytest.mark.parametrize("repeated", SUMMARIES)
@pytest.mark.parametrize("starts", [(0, 20, 40), (40, 0, 20)])
def test_summary_may_lack_anything(tmp_path: Path, repeated: str, starts: tuple[int, ...]) -> None:
    items = images_of(drive(30)) + images_of(drive(30, topic="/rear", compressed=True))
    mcap = McapBuilder()
    for start in starts:
        mcap.add_chunk(items[start : start + 20])
    file = tmp_path / "drive.mcap"
    file.write_bytes(mcap.finish(repeated))
    for topics in (["rear"], ["camera/image_raw"]):
        frames, _, report = read(file, topics)
        assert sorted(frame.published_ns for frame in frames) == [
            item.time_ns for item in items if item.topic.endswith(topics[0])
        ]
        assert report.complete
        assert not report.is_fallback
    is_known = {"schemas", "channels", "statistics"} <= set(repeated.split())
    assert report.frames_expected == (30 if is_known else 0)
    is_told = "statistics" in repeated or "chunks" in repeated
    assert report.start_ns == (items[0].time_ns if is_told else None)


@pytest.mark.parametrize(
    "repeated", ["schemas channels statistics chunks", "schemas channels chunks"]
)
def test_chunks_come_by_time_where_the_summary_knows_their_channels(
    tmp_path: Path, repeated: str
) -> None:
    items = images_of(drive(60))
    mcap = McapBuilder()
    for start in (0, 30, 45, 15):
        mcap.add_chunk(items[start : start + 15])
    file = tmp_path / "drive.mcap"
    file.write_bytes(mcap.finish(repeated))
    frames, _, _ = read(file)
    assert [frame.published_ns for frame in frames] == [item.time_ns for item in items]


def test_chunk_that_the_index_lacks_is_read(tmp_path: Path) -> None:
    items = images_of(drive(60))
    mcap = McapBuilder()
    for start in (0, 30, 45, 15):
        mcap.add_chunk(items[start : start + 15], is_indexed=start != 30)
    file = tmp_path / "drive.mcap"
    file.write_bytes(mcap.finish())
    frames, _, report = read(file)
    assert [frame.published_ns for frame in frames] == [item.time_ns for item in items]
    assert report.complete


def frames(compression: str, parts: int) -> Callable[[bytes], bytes]:
    """Return what compresses data into several frames, as parallel compressors do."""

    def compress(data: bytes) -> bytes:
        size = -(-len(data) // parts)
        pieces = [data[start : start + size] for start in range(0, len(data), size)]
        return b"".join(map(COMPRESS[compression], pieces))

    return compress


# Zstandard, 3.1.2: a frame that decoders skip.
SKIPPED_FRAME = b"\x50\x2a\x4d\x18\x04\0\0\0abcd"
PACKED: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "zstd, two frames": ("zstd", frames("zstd", 2)),
    "zstd, many frames": ("zstd", frames("zstd", 300)),
    "zstd, a frame to skip": ("zstd", lambda data: SKIPPED_FRAME + COMPRESS["zstd"](data)),
    "lz4, two frames": ("lz4", frames("lz4", 2)),
}


@pytest.mark.parametrize(("compression", "pack"), list(PACKED.values()), ids=list(PACKED))
def test_a_chunk_may_have_several_frames(
    tmp_path: Path, compression: str, pack: Callable[[bytes], bytes]
) -> None:
    items = drive(20)
    mcap = McapBuilder()
    records = mcap.records_of(items)
    mcap.add_raw(chunk_with(records, compression, pack(records)))
    whole(tmp_path, mcap, [item.time_ns for item in items])


@pytest.mark.parametrize("kind", [0x07, 0x09, 0x0C, 0x10, 0x7F, 0x80, 0xFF])
def test_records_of_other_kinds_are_no_damage(tmp_path: Path, kind: int) -> None:
    items = drive(20)
    mcap = McapBuilder()
    other = record_of(kind, b"some content of an application " * 9)
    records = other + mcap.records_of(items[:10]) + other + mcap.records_of(items[10:]) + other
    mcap.add_raw(other + chunk_with(records, "", records) + other)
    whole(tmp_path, mcap, [item.time_ns for item in items])


@pytest.mark.parametrize("compression", ["", "zstd"])
def test_fields_that_the_format_may_get_are_no_damage(tmp_path: Path, compression: str) -> None:
    items = drive(20)
    mcap = McapBuilder()
    records = mcap.records_of(items)
    packed = COMPRESS[compression](records)
    mcap.add_raw(chunk_with(records, compression, packed, new_fields=b"something"))
    whole(tmp_path, mcap, [item.time_ns for item in items])


def chunk_with(records: bytes, compression: str, packed: bytes, new_fields: bytes = b"") -> bytes:
    """Return a chunk of records that were packed somehow, without times."""
    head = struct.pack("<QQQI", 0, 0, len(records), 0) + text(compression)
    return record_of(CHUNK, head + struct.pack("<Q", len(packed)) + packed + new_fields)


def whole(tmp_path: Path, mcap: McapBuilder, times: list[int]) -> None:
    """Check that a file is read without loss, with a summary or without."""
    file = tmp_path / "drive.mcap"
    for content in (mcap.finish(), mcap.finish("")):
        file.write_bytes(content)
        reading = open_bag(file)
        assert [item.published_ns for item in reading] == times
        assert reading.report.complete
