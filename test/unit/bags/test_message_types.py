"""Message types under their other names, in the serialization of ROS 1, and those nobody reads."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from pathlib import Path

import pytest
from bag_reader import read
from bag_recorder import COMPRESSED, IMAGE, STRING, Item, drive, record, record_ros1
from mcap_builder import McapBuilder
from rosbags.rosbag2 import StoragePlugin

from fl_robot_ros.errors import BagError
from fl_robot_ros.images.frame import frame_bytes
from fl_robot_ros.playback.bag_source import BagSource
from fl_robot_ros.playback.source import RecordedImage

CAMERA, LABEL = "/camera/image_raw", "/fl/label"
NAMES = {
    "ROS 1": ("sensor_msgs/Image", "sensor_msgs/CompressedImage", "std_msgs/String"),
    "DDS": (
        "sensor_msgs::msg::dds_::Image_",
        "sensor_msgs::msg::dds_::CompressedImage_",
        "std_msgs::msg::dds_::String_",
    ),
}


def write_mcap(
    path: Path, items: list[Item], channels: dict[str, tuple[str, str]], repeated: str | None
) -> Path:
    mcap = McapBuilder(channels)
    mcap.add_chunk(items)
    path.write_bytes(mcap.finish() if repeated is None else mcap.finish(repeated))
    return path


def contents(items: list[Item], bag: Path) -> None:
    """Check that a bag yields what its items are."""
    frames, labels, report = read(bag)
    texts = [item for item in items if isinstance(item.content, str)]
    assert [(item.topic, item.label, item.published_ns) for item in labels] == [
        (item.topic, item.content, item.time_ns) for item in texts
    ]
    images = [item for item in items if not isinstance(item.content, str)]
    assert [(frame.topic, frame.stamp_ns) for frame in frames] == [
        (item.topic, item.time_ns - 5_000_000) for item in images
    ]
    for frame, item in zip(frames, images, strict=True):
        if not item.compressed:
            assert frame_bytes(frame.data).tobytes() == item.content.tobytes()
    assert report.complete


@pytest.mark.parametrize("repeated", [None, ""])
@pytest.mark.parametrize("encoding", ["cdr", "ros1"])
@pytest.mark.parametrize("names", list(NAMES.values()), ids=list(NAMES))
def test_types_are_known_by_all_their_names_and_in_both_serializations(
    tmp_path: Path, names: tuple[str, str, str], encoding: str, repeated: str | None
) -> None:
    items = drive(20) + drive(20, topic="/rear", label_topic="/b/fl/label", compressed=True)
    items.sort(key=lambda item: item.time_ns)
    image, compressed, text = names
    channels = {CAMERA: image, "/rear": compressed, LABEL: text}
    given = {topic: (name, encoding) for topic, name in channels.items()}
    contents(items, write_mcap(tmp_path / "drive.mcap", items, given, repeated))


def test_a_database_with_the_types_of_early_ros2_is_read(tmp_path: Path) -> None:
    items = drive(10)
    file = record(tmp_path / "bag", items, StoragePlugin.SQLITE3)
    with contextlib.closing(sqlite3.connect(file)) as database, database:
        database.execute("UPDATE topics SET type = replace(type, '/msg/', '/')")
    contents(items, tmp_path / "bag")
    contents(items, file)


@pytest.mark.parametrize("kind", ["mcap", "bag"])
def test_messages_of_ros1_are_played_as_those_of_ros2(tmp_path: Path, kind: str) -> None:
    items = drive(10) + drive(10, topic="/rear", label_topic="/b/fl/label", compressed=True)
    items.sort(key=lambda item: item.time_ns)
    file = tmp_path / f"drive.{kind}"
    if kind == "bag":
        record_ros1(file, items)
    else:
        types = {CAMERA: IMAGE, "/rear": COMPRESSED, LABEL: STRING, "/b/fl/label": STRING}
        given = {topic: (name.replace("/msg/", "/"), "ros1") for topic, name in types.items()}
        write_mcap(file, items, given, None)
    record(tmp_path / "ros2", items)
    with (
        contextlib.closing(BagSource(file)) as old,
        contextlib.closing(BagSource(tmp_path / "ros2")) as new,
    ):
        assert list(old.items()) == list(new.items())
        assert old.image_types == new.image_types
        assert old.skipped == []


def test_a_broken_message_of_ros1_is_named_and_left_out(tmp_path: Path) -> None:
    given = {CAMERA: ("sensor_msgs/Image", "ros1")}
    items = drive(3)
    mcap = McapBuilder(given)
    mcap.add_chunk(items)
    content = bytearray(mcap.finish())
    # The length of the first frame id, 6, as one that no message has.
    place = content.index(b"\x06\0\0\0camera")
    content[place : place + 4] = b"\xff\xff\xff\x7f"
    (tmp_path / "drive.mcap").write_bytes(content)
    with contextlib.closing(BagSource(tmp_path / "drive.mcap")) as source:
        images = [item for item in source.items() if isinstance(item, RecordedImage)]
        assert len(images) == 2
        (line,) = source.skipped
        assert line.startswith(f"a message on {CAMERA} is broken: ")


LEFT_OUT = {
    ("foxglove.CompressedImage", "json"): "is foxglove.CompressedImage as 'json', which",
    ("foxglove.RawImage", "protobuf"): "is foxglove.RawImage as 'protobuf', which",
    ("foxglove_msgs/msg/CompressedVideo", "cdr"): "is foxglove_msgs/msg/CompressedVideo, which",
    ("sensor_msgs/Image", "json"): "is sensor_msgs/msg/Image as 'json', which",
    ("ffmpeg_image_transport_msgs/msg/FFMPEGPacket", "cdr"): "FFMPEGPacket, which cannot",
    ("", "cdr"): "has no type, and",
}


@pytest.mark.parametrize("repeated", [None, ""])
@pytest.mark.parametrize(("channel", "words"), list(LEFT_OUT.items()))
def test_images_that_nobody_reads_are_named(
    tmp_path: Path, channel: tuple[str, str], words: str, repeated: str | None
) -> None:
    items = drive(10) + drive(10, topic="/other", label_topic="/b/fl/label")
    given = {"/other": channel}
    file = write_mcap(tmp_path / "drive.mcap", items, given, repeated)
    frames, _, report = read(file)
    assert len(frames) == 10
    assert report.loss.startswith("/other ")
    assert words in report.loss
    # One that was not asked for is not missed.
    assert read(file, ["camera/image_raw"])[2].complete
    alone = write_mcap(tmp_path / "alone.mcap", drive(3, topic="/other"), given, repeated)
    with pytest.raises(BagError, match=re.escape(words)):
        read(alone)


@pytest.mark.parametrize("channel", [("foxglove.Log", "json"), ("", "json"), (STRING, "cdr")])
def test_what_is_no_image_is_not_missed(tmp_path: Path, channel: tuple[str, str]) -> None:
    items = [*drive(10), Item("/note", drive(10)[-1].time_ns, "hello")]
    file = write_mcap(tmp_path / "drive.mcap", items, {"/note": channel}, None)
    assert read(file)[2].complete


@pytest.mark.parametrize("repeated", [None, ""])
def test_labels_of_another_type_are_named(tmp_path: Path, repeated: str | None) -> None:
    given = {LABEL: ("example_interfaces/msg/String", "cdr")}
    file = write_mcap(tmp_path / "drive.mcap", drive(10), given, repeated)
    expected = f"{LABEL} is example_interfaces/msg/String, and not read: labels are {STRING}"
    frames, labels, report = read(file)
    assert (len(frames), labels, report.loss) == (10, [], expected)
    assert read(file, ["camera/image_raw"])[2].loss == expected
    with contextlib.closing(BagSource(file)) as source:
        assert len(list(source.items())) == 10
        assert source.skipped == [expected]
