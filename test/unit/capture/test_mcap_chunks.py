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


def test_chunks_out_of_order_with_channels_that_the_summary_lacks_are_read(tmp_path: Path) -> None:
    items = pictures_of(drive(60))
    mcap = McapBuilder()
    for start in (40, 0, 20):
        mcap.add_chunk(items[start : start + 20])
    file = tmp_path / "drive.mcap"
    file.write_bytes(mcap.finish(repeats_channels=False))
    frames, _, report = read(file)
    assert [frame.published_ns for frame in frames] == [item.time_ns for item in items]
    assert report.complete
