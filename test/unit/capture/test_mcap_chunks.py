"""mcap files with chunks in any order, and messages outside of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from bag_reader import read
from bag_recorder import drive, pictures_of
from mcap_builder import McapBuilder

from fl_robot_ros.capture.bag import read_bag


@pytest.mark.parametrize("compression", ["", "zstd", "lz4"])
@pytest.mark.parametrize("outside", ["first", "middle", "last"])
def test_messages_outside_of_chunks_that_are_out_of_order_are_read(
    tmp_path: Path, compression: str, outside: str
) -> None:
    items = drive(60)
    frames = pictures_of(items)
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
    reading = read_bag(file)
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
    items = pictures_of(drive(30)) + pictures_of(drive(30, topic="/rear", compressed=True))
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
    items = pictures_of(drive(60))
    mcap = McapBuilder()
    for start in (0, 30, 45, 15):
        mcap.add_chunk(items[start : start + 15])
    file = tmp_path / "drive.mcap"
    file.write_bytes(mcap.finish(repeated))
    frames, _, _ = read(file)
    assert [frame.published_ns for frame in frames] == [item.time_ns for item in items]


def test_chunk_that_the_index_lacks_is_read(tmp_path: Path) -> None:
    items = pictures_of(drive(60))
    mcap = McapBuilder()
    for start in (0, 30, 45, 15):
        mcap.add_chunk(items[start : start + 15], is_indexed=start != 30)
    file = tmp_path / "drive.mcap"
    file.write_bytes(mcap.finish())
    frames, _, report = read(file)
    assert [frame.published_ns for frame in frames] == [item.time_ns for item in items]
    assert report.complete
