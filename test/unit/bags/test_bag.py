"""Reading whole bags."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import struct
from pathlib import Path

import numpy as np
import pytest
from bag_reader import read
from bag_recorder import START_NS, Item, drive, make_image, record, record_ros1
from rosbags.rosbag2 import StoragePlugin

from fl_robot_ros.bags.bag import BagReport, LabelMessage, open_bag
from fl_robot_ros.errors import BagError, SourceError
from fl_robot_ros.images.decode import decode_frame
from fl_robot_ros.images.frame import CompressedFrame, RawFrame
from fl_robot_ros.playback.bag_source import BagSource

STORAGES = list(StoragePlugin)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("compressed", [False, True])
def test_round_trip(tmp_path: Path, storage: StoragePlugin, compressed: bool) -> None:
    items = drive(30, compressed=compressed)
    record(tmp_path / "bag", items, storage)
    frames, labels, report = read(tmp_path / "bag")
    assert [(item.label, item.published_ns) for item in labels] == [
        ("cat", START_NS - 1_000_000),
        ("dog", START_NS + 1_499_000_000),
    ]
    images = [item for item in items if not isinstance(item.content, str)]
    assert [frame.published_ns for frame in frames] == [item.time_ns for item in images]
    assert [frame.stamp_ns for frame in frames] == [item.time_ns - 5_000_000 for item in images]
    assert {type(frame) for frame in frames} == {CompressedFrame if compressed else RawFrame}
    for frame, item in zip(frames, images, strict=True):
        difference = decode_frame(frame).astype(int) - np.asarray(item.content)
        assert np.abs(difference).mean() < (4 if compressed else 0.001)
    assert report == BagReport(
        frames_read=30,
        labels_read=2,
        frames_expected=30,
        topics=("/camera/image_raw",),
        image_topics=("/camera/image_raw",),
        label_topics=("/fl/label",),
        start_ns=START_NS - 1_000_000,
        complete=True,
    )


def test_storage_file_and_metadata_file_stand_for_the_bag(tmp_path: Path) -> None:
    file = record(tmp_path / "bag", drive(10))
    for path in (file, tmp_path / "bag" / "metadata.yaml"):
        assert read(path)[2].frames_read == 10


def test_header_stamp_zero_falls_back_to_the_recorded_time(tmp_path: Path) -> None:
    record(tmp_path / "bag", [Item("/camera", START_NS, make_image(0), stamp_ns=0)])
    assert read(tmp_path / "bag")[0][0].stamp_ns == START_NS


def test_topics_match_in_any_namespace(tmp_path: Path) -> None:
    items = drive(10, topic="/robot1/camera/image_raw", label_topic="/robot1/fl/label")
    items += drive(4, topic="/robot1/rear/image_raw")
    items += [Item("/other/label", START_NS, "no"), Item("/xfl/label", START_NS, "no")]
    record(tmp_path / "bag", items)
    frames, labels, report = read(tmp_path / "bag", ["camera/image_raw"])
    assert {frame.topic for frame in frames} == {"/robot1/camera/image_raw"}
    assert {item.label for item in labels} == {"cat", "dog"}
    assert not report.is_fallback
    assert report.complete


def test_part_of_a_name_is_no_match(tmp_path: Path) -> None:
    items = drive(4, topic="/rear_camera/image") + drive(4, topic="/camera/image")
    record(tmp_path / "bag", items)
    assert read(tmp_path / "bag", ["camera/image"])[2].topics == ("/camera/image",)


def test_all_image_topics_are_read_where_none_of_the_wanted_is_there(tmp_path: Path) -> None:
    record(tmp_path / "bag", drive(4, topic="/left") + drive(4, topic="/right", compressed=True))
    _, _, report = read(tmp_path / "bag", ["camera/image_raw"])
    assert report.is_fallback
    assert set(report.topics) == {"/left", "/right"}
    assert report.frames_read == 8


@pytest.mark.parametrize("has_metadata", [False, True])
@pytest.mark.parametrize("storage", [*STORAGES, None])
def test_beginning_and_label_topics_are_known_at_the_first_item(
    tmp_path: Path, storage: StoragePlugin | None, has_metadata: bool
) -> None:
    items = drive(10, label_topic="/b/fl/label") + drive(4, label_topic="/a/fl/label")
    items += [Item("/early", START_NS - 10**9, "before all"), Item("/x/label", START_NS, "no")]
    if storage is None:
        path = record_ros1(tmp_path / "drive.bag", items)
    else:
        record(path := tmp_path / "bag", items, storage)
        if not has_metadata:
            (path / "metadata.yaml").unlink()
    with contextlib.closing(open_bag(path)) as reading:
        item = next(reading)
    assert isinstance(item, LabelMessage)
    assert item.topic in ("/a/fl/label", "/b/fl/label")
    assert reading.report.label_topics == ("/a/fl/label", "/b/fl/label")
    assert reading.report.start_ns == START_NS - 10**9


@pytest.mark.parametrize("storage", STORAGES)
def test_messages_written_topic_by_topic_come_in_the_order_of_recording(
    tmp_path: Path, storage: StoragePlugin
) -> None:
    items = drive(60, size=(120, 160)) + drive(60, topic="/rear", size=(120, 160), labels=["x"])
    by_topic = sorted(items, key=lambda item: item.topic)
    record(tmp_path / "bag", by_topic, storage)
    read_items = list(open_bag(tmp_path / "bag"))
    assert len(read_items) == len(items)
    times = [item.published_ns for item in read_items]
    assert times == sorted(times)


def test_sqlite_bag_is_closed_in_mid_reading(tmp_path: Path) -> None:
    file = record(tmp_path / "bag", drive(9), StoragePlugin.SQLITE3)
    reading = open_bag(file)
    next(reading)
    reading.close()
    open_files = {os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()}
    assert str(file.resolve()) not in open_files


def with_serialization(file: Path, topics: tuple[str, ...], serialization: str) -> None:
    """Say of topics of a bag, in its metadata and its file, that they are serialized in a way."""
    metadata = file.with_name("metadata.yaml")
    text = metadata.read_text()
    for topic in topics:
        pattern = rf"(name: {topic}\n(?:.*\n){{1,3}}? +serialization_format:) cdr"
        text, changed = re.subn(pattern, rf"\1 {serialization}", text)
        assert changed == 1
    metadata.write_text(text)
    if file.suffix == ".db3":
        with contextlib.closing(sqlite3.connect(file)) as bag, bag:
            marks = ", ".join("?" for _ in topics)
            statement = f"UPDATE topics SET serialization_format = ? WHERE name IN ({marks})"
            bag.execute(statement, (serialization, *topics))
        return
    content = file.read_bytes()
    for topic in topics:
        channel = struct.pack("<I", len(topic)) + topic.encode() + struct.pack("<I", 3)
        assert channel + b"cdr" in content
        content = content.replace(channel + b"cdr", channel + serialization.encode())
    file.write_bytes(content)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("has_metadata", [False, True])
def test_topics_of_another_serialization_are_named(
    tmp_path: Path, storage: StoragePlugin, has_metadata: bool
) -> None:
    bag = tmp_path / "bag"
    items = drive(10) + drive(4, topic="/rear", labels=["x"], label_topic="/b/fl/label")
    with_serialization(record(bag, items, storage), ("/camera/image_raw", "/fl/label"), "xml")
    if not has_metadata:
        (bag / "metadata.yaml").unlink()
    camera = "/camera/image_raw is sensor_msgs/msg/Image as 'xml', which cannot be read"
    label = "/fl/label is std_msgs/msg/String as 'xml', which cannot be read"
    frames, labels, report = read(bag)
    assert (len(frames), len(labels), report.frames_expected) == (4, 1, 4)
    assert report.loss == f"{camera}; {label}"
    assert read(bag, ["rear"])[2].loss == label
    with contextlib.closing(BagSource(bag)) as source:
        assert source.skipped == [camera, label]
    with pytest.raises(BagError, match=re.escape(f"its image topics are /rear; {camera}")):
        list(open_bag(bag, ["camera/image_raw"], allows_fallback=False))


@pytest.mark.parametrize("storage", STORAGES)
def test_bag_whose_images_are_all_of_another_serialization_is_an_error(
    tmp_path: Path, storage: StoragePlugin
) -> None:
    file = record(tmp_path / "bag", drive(4), storage)
    with_serialization(file, ("/camera/image_raw",), "xml")
    text = "/camera/image_raw is sensor_msgs/msg/Image as 'xml', which cannot be read"
    for path in (tmp_path / "bag", file):
        with pytest.raises(BagError, match=re.escape(f"yields no image: {text}")):
            read(path)
        with pytest.raises(SourceError, match=re.escape(text)):
            BagSource(path)


def test_bag_without_image_topic_names_what_it_has(tmp_path: Path) -> None:
    record(tmp_path / "bag", [Item("/chatter", START_NS, "hello")])
    with pytest.raises(BagError, match=re.escape("/chatter (std_msgs/msg/String)")):
        read(tmp_path / "bag")


@pytest.mark.parametrize(
    "name", ["nothing", "empty", "file.txt", "empty.mcap", "bad.db3", "x.bag"]
)
def test_what_is_no_bag_is_one_clear_error(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "empty":
        path.mkdir()
    elif name != "nothing":
        path.write_bytes(b"" if name.startswith("empty") else b"this is no bag" * 100)
    with pytest.raises(BagError, match=re.escape(str(path))):
        read(path)


def test_closing_early_is_clean(tmp_path: Path) -> None:
    record(tmp_path / "bag", drive(10))
    reading = open_bag(tmp_path / "bag")
    next(reading)
    reading.close()
    assert not reading.report.complete
    assert list(reading) == []
