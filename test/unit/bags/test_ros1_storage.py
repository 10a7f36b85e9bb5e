"""ROS 1 bags: whole ones are read, and of others one line says what to do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bag_recorder import START_NS, Item, drive, images_of, record, record_ros1
from rosbags.rosbag1 import Reader, Writer
from rosbags.rosbag2 import StoragePlugin

from fl_robot_ros.bags import ros1_storage
from fl_robot_ros.bags.bag import BagReport, LabelMessage, open_bag
from fl_robot_ros.errors import BagError, SourceError
from fl_robot_ros.images.decode import decode_frame
from fl_robot_ros.images.frame import Frame, RawFrame
from fl_robot_ros.playback.bag_source import BagSource

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


@pytest.mark.parametrize("name", ["drive.bag", "drive.bag.active"])
def test_a_bag_without_an_index_is_one_line_that_says_what_to_do(
    tmp_path: Path, name: str
) -> None:
    file = record_ros1(tmp_path / name, drive(4))
    file.write_bytes(without_index(file.read_bytes()))
    line = (
        rf"{name}: it cannot be read as a ROS 1 bag: .*not indexed.*; if it was cut off or its "
        rf"recorder killed, run: rosbag reindex {name}"
    )
    with pytest.raises(BagError, match=line) as caught:
        read(file)
    assert "\n" not in str(caught.value)
    with pytest.raises(SourceError, match=f"rosbag reindex {name}"):
        BagSource(file)


def test_a_bag_that_is_cut_anywhere_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    file = record_ros1(tmp_path / "drive.bag", drive(4))
    content = file.read_bytes()
    for size in range(0, len(content) - 1, len(content) // 23):
        file.write_bytes(content[:size])
        with pytest.raises(BagError, match=r"rosbag reindex drive\.bag"):
            read(file)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_damaged_chunk_ends_the_reading(
    tmp_path: Path, compression: Writer.CompressionFormat | None
) -> None:
    items = drive(40, size=SIZE)
    file = record_ros1(tmp_path / "drive.bag", items, compression, CHUNK_BYTES)
    content = bytearray(file.read_bytes())
    with Reader(file) as reader:
        chunk = list(reader.chunks.values())[3]
    content[chunk.datapos : chunk.datapos + 200] = bytes(200)
    file.write_bytes(content)
    frames, labels, report = read(file)
    assert 3 <= len(frames) < 40
    assert labels[0].label == "cat"
    assert f"{len(frames)} of the 40 images" in report.loss
    assert "rosbag reindex drive.bag" in report.loss


def test_messages_written_topic_by_topic_come_in_the_order_of_recording(tmp_path: Path) -> None:
    items = sorted(drive(40, size=SIZE), key=lambda item: item.topic)
    file = record_ros1(tmp_path / "drive.bag", [*items[2:], *items[:2]], None, CHUNK_BYTES)
    read_items = list(open_bag(file))
    times = [item.published_ns for item in read_items]
    assert len(times) == 42
    assert times[1:] == sorted(times[1:])
    frames = [item for item in read_items if isinstance(item, RawFrame)]
    assert [frame.published_ns for frame in frames] == [i.time_ns for i in images_of(items)]


def test_lengths_that_claim_gigabytes_are_damage(tmp_path: Path) -> None:
    file = record_ros1(tmp_path / "drive.bag", drive(4))
    content = file.read_bytes()
    with Reader(file) as reader:
        places = [len(b"#ROSBAG V2.0\n"), reader.chunk_infos[0].pos]
    for place in places:
        file.write_bytes(content[:place] + b"\xff\xff\xff\xff" + content[place + 4 :])
        with pytest.raises(BagError, match=r"rosbag reindex drive\.bag"):
            read(file)


def test_an_index_that_names_a_chunk_again_and_again_is_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ros1_storage, "_FREE_BYTES", 0)
    monkeypatch.setattr(ros1_storage, "_MAX_SHARE", 2)
    by_topic = sorted(drive(40), key=lambda item: item.topic)
    file = record_ros1(tmp_path / "drive.bag", by_topic)
    with pytest.raises(BagError, match="again and again"):
        read(file)


def test_a_chunk_that_unpacks_to_too_much_is_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ros1_storage, "MAX_UNPACKED_BYTES", 60_000)
    image = Item("/camera", START_NS, np.zeros((200, 200, 3), np.uint8))
    file = record_ros1(tmp_path / "drive.bag", [image], Writer.CompressionFormat.BZ2)
    with pytest.raises(BagError, match="unpacks to more than 60000 bytes"):
        read(file)


def test_long_names_are_damage(tmp_path: Path) -> None:
    file = record_ros1(tmp_path / "drive.bag", drive(4, topic="/" + "a" * 5000))
    with pytest.raises(BagError, match="name of a topic or type is too long"):
        read(file)


@pytest.mark.parametrize("magic", [b"#ROSBAG V1.2\n", b"#ROSBAG V2.0\n", b"x" * 5000])
def test_what_is_no_readable_bag_is_one_clear_error(tmp_path: Path, magic: bytes) -> None:
    file = tmp_path / "drive.bag"
    file.write_bytes(magic)
    with pytest.raises(BagError, match=r"drive\.bag"):
        read(file)


def test_an_encrypted_bag_is_named_so(tmp_path: Path) -> None:
    file = record_ros1(tmp_path / "drive.bag", drive(4), None)
    # The header's fields for this are the same length.
    file.write_bytes(file.read_bytes().replace(b"chunk_count=", b"encryptor=xx", 1))
    with pytest.raises(BagError, match="rosbag reindex"):
        read(file)
