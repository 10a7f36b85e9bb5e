"""Reading ROS 1 bags: whole, unindexed, cut off, damaged, compressed."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from bag_recorder import drive, images_of, make_image, record, record_ros1
from rosbags.rosbag1 import Writer
from rosbags.rosbag2 import StoragePlugin

from fl_robot_ros.bags.bag import BagReport, LabelMessage, open_bag
from fl_robot_ros.errors import BagError
from fl_robot_ros.images.decode import decode_frame
from fl_robot_ros.images.frame import Frame, RawFrame

COMPRESSIONS = [None, Writer.CompressionFormat.BZ2, Writer.CompressionFormat.LZ4]
SIZE = (60, 80)
# Some four frames.
CHUNK_BYTES = 1 << 16


def read(path: Path) -> tuple[list[Frame], list[LabelMessage], BagReport]:
    reading = open_bag(path)
    items = list(reading)
    frames = [item for item in items if not isinstance(item, LabelMessage)]
    # Messages of the same time have no order.
    frames.sort(key=lambda frame: (frame.published_ns, frame.topic))
    return frames, [item for item in items if isinstance(item, LabelMessage)], reading.report


def without_index(content: bytes) -> bytes:
    """Return a bag as a killed recorder leaves it: no index, and none promised."""
    at = content.index(b"index_pos=") + len(b"index_pos=")
    end = int.from_bytes(content[at : at + 8], "little")
    return content[:at] + bytes(8) + content[at + 8 : end]


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_gives_the_frames_and_labels_of_the_same_rosbag2(
    tmp_path: Path, compression: Writer.CompressionFormat | None
) -> None:
    items = drive(24, size=SIZE) + drive(6, topic="/rear", compressed=True, labels=["x"])
    ros1 = read(record_ros1(tmp_path / "old.bag", items, compression, CHUNK_BYTES))
    for storage in StoragePlugin:
        record(tmp_path / storage.name, items, storage)
        ros2 = read(tmp_path / storage.name)
        assert ros1[1] == ros2[1]
        assert set(ros1[2].topics) == set(ros2[2].topics)
        assert len(ros1[0]) == len(ros2[0]) == 30
        for old, new in zip(ros1[0], ros2[0], strict=True):
            assert type(old) is type(new)
            assert (old.topic, old.stamp_ns, old.published_ns) == (
                new.topic,
                new.stamp_ns,
                new.published_ns,
            )
            np.testing.assert_array_equal(decode_frame(old), decode_frame(new))
    assert ros1[2].complete
    assert ros1[2].frames_expected == 30


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("name", ["drive.bag", "drive.bag.active"])
def test_bag_without_index_gives_all_that_was_written(
    tmp_path: Path, compression: Writer.CompressionFormat | None, name: str
) -> None:
    file = record_ros1(tmp_path / name, drive(24, size=SIZE), compression, CHUNK_BYTES)
    file.write_bytes(without_index(file.read_bytes()))
    frames, labels, report = read(file)
    assert (len(frames), len(labels)) == (24, 2)
    assert not report.complete
    assert "it has no index" in report.loss


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_cut_anywhere_yields_what_is_there(
    tmp_path: Path, compression: Writer.CompressionFormat | None
) -> None:
    file = record_ros1(tmp_path / "drive.bag", drive(24, size=SIZE), compression, CHUNK_BYTES)
    content = without_index(file.read_bytes())
    for size in range(8000, len(content), len(content) // 23):
        file.write_bytes(content[:size])
        try:
            frames, labels, report = read(file)
        except BagError:
            frames = []
        # Less than a chunk is lost; of one that is not compressed, less than a frame.
        at_least = 24 * size / len(content) - (2 if compression is None else 5)
        assert len(frames) >= at_least
        if not frames:
            continue
        assert labels[0].label == "cat"
        assert not report.complete
        for number, frame in enumerate(frames):
            np.testing.assert_array_equal(decode_frame(frame), make_image(number, *SIZE))


@pytest.mark.parametrize("damage", ["zeros", "length", "header"])
@pytest.mark.parametrize("has_index", [False, True])
def test_damaged_chunk_loses_no_other(tmp_path: Path, damage: str, has_index: bool) -> None:
    file = record_ros1(tmp_path / "drive.bag", drive(40, size=SIZE), None, CHUNK_BYTES)
    content = bytearray(file.read_bytes())
    third = [
        at for at in range(len(content)) if content.startswith(b"\x04\x00\x00\x00op=\x05", at)
    ][2]
    length_at = third + content[third:].index(b"size=") + 9
    if damage == "zeros":
        content[third - 40 : third + 40] = bytes(80)
    elif damage == "length":
        content[length_at : length_at + 4] = (1 << 31).to_bytes(4, "little")
    else:
        content[third + 7] = 0x77
    file.write_bytes(content if has_index else without_index(content))
    frames, _, report = read(file)
    assert 34 <= len(frames) < 40
    assert not report.complete
    assert "bytes were skipped" in report.loss


def test_messages_written_topic_by_topic_come_in_the_order_of_recording(tmp_path: Path) -> None:
    items = sorted(drive(40, size=SIZE), key=lambda item: item.topic)
    file = record_ros1(tmp_path / "drive.bag", [*items[2:], *items[:2]], None, CHUNK_BYTES)
    read_items = list(open_bag(file))
    times = [item.published_ns for item in read_items]
    assert len(times) == 42
    assert times[1:] == sorted(times[1:])
    frames = [item for item in read_items if isinstance(item, RawFrame)]
    assert [frame.published_ns for frame in frames] == [i.time_ns for i in images_of(items)]


def test_chunk_that_the_index_lacks_is_read(tmp_path: Path) -> None:
    items = drive(40, size=SIZE)
    file = record_ros1(tmp_path / "drive.bag", [*items[20:], *items[:20]], None, CHUNK_BYTES)
    content = file.read_bytes()
    at = content.index(b"index_pos=") + len(b"index_pos=")
    position = int.from_bytes(content[at : at + 8], "little")
    last = position
    while position < len(content):
        last = position
        for _ in ("header", "data"):
            position += 4 + int.from_bytes(content[position : position + 4], "little")
    assert b"op=\x06" in content[last:]
    file.write_bytes(content[:last])
    frames, labels, _ = read(file)
    assert (len(frames), len(labels)) == (40, 2)


@pytest.mark.parametrize("magic", [b"#ROSBAG V1.2\n", b"#ROSBAG V2.0\n", b"x" * 5000])
def test_what_is_no_readable_bag_is_one_clear_error(tmp_path: Path, magic: bytes) -> None:
    file = tmp_path / "drive.bag"
    file.write_bytes(magic)
    with pytest.raises(BagError, match=r"drive\.bag"):
        read(file)


def test_encrypted_bag_is_named_so(tmp_path: Path) -> None:
    file = record_ros1(tmp_path / "drive.bag", drive(4), None)
    # The header's fields for this are the same length.
    content = file.read_bytes().replace(b"conn_count=", b"encryptor=x", 1)
    file.write_bytes(content)
    with pytest.raises(BagError, match="encrypted"), contextlib.closing(open_bag(file)) as reading:
        list(reading)
