import contextlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from bag_recorder import (
    COMPRESSED,
    IMAGE,
    START_NS,
    TYPES,
    Item,
    drive,
    images_of,
    make_image,
    record,
)
from mcap_builder import McapBuilder

from fl_robot_ros.bags.bag import is_bag
from fl_robot_ros.errors import SourceError
from fl_robot_ros.images.image_files import read_image
from fl_robot_ros.playback.bag_source import BagSource
from fl_robot_ros.playback.image_source import FolderSource, VideoSource
from fl_robot_ros.playback.source import RecordedImage, RecordedLabel, StreamedImage
from fl_robot_ros.playback.source_choice import open_source


def write_image(path: Path, number: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(make_image(number), cv2.COLOR_RGB2BGR))


def test_class_folders_give_the_labels(tmp_path: Path) -> None:
    write_image(tmp_path / "b" / "1.png", 1)
    write_image(tmp_path / "a" / "deep" / "2.PNG", 2)
    write_image(tmp_path / "stop%2Esign" / "3.jpg", 3)
    write_image(tmp_path / ".trash" / "4.png", 4)
    write_image(tmp_path / "5.png", 5)
    (tmp_path / "b" / "note.txt").write_text("no image")
    source = open_source(str(tmp_path), rate_hz=4.0)
    items = list(source.items())
    assert isinstance(source, FolderSource)
    assert [label for _, label in source.images] == ["", "a", "b", "stop.sign"]
    assert all(isinstance(item, StreamedImage) for item in items)
    assert [item.due_sec for item in items] == [0.0, 0.25, 0.5, 0.75]


def test_split_folders_and_unlabelled_are_no_labels(tmp_path: Path) -> None:
    write_image(tmp_path / "splits" / "train" / "cat" / "1.png", 1)
    write_image(tmp_path / "splits" / "test" / "2.png", 2)
    (tmp_path / "splits" / "notes.txt").write_text("no image")
    source = FolderSource(tmp_path / "splits")
    assert [item.label for item in source.items() if isinstance(item, StreamedImage)] == [
        "",
        "cat",
    ]
    assert source.description.endswith(
        "; 1 without a label; split folders train, test, with class folders in them; files "
        "directly in test have no class folder"
    )
    assert source.skipped == ["notes.txt: no image"]
    # An export of the review pool alone: no word on labels.
    write_image(tmp_path / "export" / "unlabelled" / "1.png", 1)
    (item,) = FolderSource(tmp_path / "export").items()
    assert isinstance(item, StreamedImage)
    assert item.label is None


def test_images_are_rgb_and_broken_ones_are_reported(tmp_path: Path) -> None:
    write_image(tmp_path / "1.png", 1)
    (tmp_path / "2.png").write_bytes(b"no image")
    (tmp_path / "3.png").write_bytes(b"")
    source = FolderSource(tmp_path)
    (item,) = source.items()
    assert isinstance(item, StreamedImage)
    np.testing.assert_array_equal(item.image, make_image(1))
    assert item.label is None
    assert [line.split(" ")[0] for line in source.skipped] == [
        str(tmp_path / "2.png"),
        str(tmp_path / "3.png"),
    ]
    assert read_image(tmp_path / "absent.png") is None


def test_a_video_is_read_to_its_end_and_again(tmp_path: Path) -> None:
    path = tmp_path / "drive.avi"
    codec = cv2.VideoWriter.fourcc(*"MJPG")
    writer = cv2.VideoWriter(str(path), codec, 25.0, (64, 48))
    for number in range(12):
        writer.write(np.full((48, 64, 3), (0, 0, 20 * number), dtype=np.uint8))
    writer.release()
    source = open_source(str(path))
    assert isinstance(source, VideoSource)
    for _ in range(2):
        items = [item for item in source.items() if isinstance(item, StreamedImage)]
        assert len(items) == 12
        assert items[5].due_sec == pytest.approx(0.2)
        red, green, blue = items[11].image.mean(axis=(0, 1))
        assert red == pytest.approx(220, abs=6)
        assert max(green, blue) < 10
    source.close()


@pytest.mark.parametrize("compressed", [False, True])
def test_a_bag_keeps_its_messages_byte_for_byte(tmp_path: Path, compressed: bool) -> None:
    items = drive(8, topic="/cam/image", label_topic="/robot1/fl/label", compressed=compressed)
    file = record(tmp_path / "bag", items)
    for path in (tmp_path / "bag", file):
        source = open_source(str(path))
        assert isinstance(source, BagSource)
        kind = COMPRESSED if compressed else IMAGE
        assert source.image_types == {"cam/image": kind}
        assert source.label_topics == ("robot1/fl/label",)
        for _ in range(2):
            read = list(source.items())
            assert len(read) == len(items)
            for recorded, item in zip(items, read, strict=True):
                due_sec = (recorded.time_ns - items[0].time_ns) / 1e9
                assert item.due_sec == pytest.approx(due_sec, abs=1e-6)
                if isinstance(recorded.content, str):
                    assert isinstance(item, RecordedLabel)
                    assert (item.topic, item.label) == ("robot1/fl/label", recorded.content)
                else:
                    assert isinstance(item, RecordedImage)
                    message = TYPES.deserialize_cdr(item.message, kind)
                    stamp = message.header.stamp
                    assert stamp.sec * 10**9 + stamp.nanosec == recorded.time_ns - 5_000_000
                    assert TYPES.serialize_cdr(message, kind) == item.message
        source.close()


def test_a_truncated_bag_gives_what_is_readable(tmp_path: Path) -> None:
    file = record(tmp_path / "bag", drive(20))
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    source = open_source(str(file))
    images = [item for item in source.items() if isinstance(item, RecordedImage)]
    assert 0 < len(images) < 20
    assert source.skipped
    source.close()


def test_a_message_with_an_impossible_time_is_not_waited_for(tmp_path: Path) -> None:
    mcap = McapBuilder()
    mcap.add_chunk(drive(4))
    mcap.add(Item("/camera/image_raw", (1 << 64) - 1, make_image(5), stamp_ns=0))
    file = tmp_path / "drive.mcap"
    file.write_bytes(mcap.finish())
    source = open_source(str(file))
    assert max(item.due_sec for item in source.items()) < 1
    assert source.skipped == [
        "a message on /camera/image_raw has the time 18446744073709551615 ns"
    ]
    source.close()


def test_a_bag_without_images_names_its_topics(tmp_path: Path) -> None:
    record(tmp_path / "bag", [Item("/fl/label", START_NS, "cat")])
    with pytest.raises(SourceError, match=r"no image topic; its topics are: /fl/label"):
        open_source(str(tmp_path / "bag"))


def test_what_cannot_be_opened_is_explained(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "old.bag").write_bytes(b"#ROSBAG V2.0\n")
    (tmp_path / "broken.mcap").write_bytes(b"no bag")
    (tmp_path / "broken.avi").write_bytes(b"no video")
    for name, message in [
        ("absent", "there is no"),
        ("empty", "no image"),
        ("old.bag", "no image topic"),
        ("broken.mcap", r"broken\.mcap"),
        ("broken.avi", "cannot be opened"),
    ]:
        with pytest.raises(SourceError, match=message):
            open_source(str(tmp_path / name))
    with pytest.raises(SourceError, match="there is no ''"):
        open_source("")
    with pytest.raises(SourceError, match="camera 63"):
        open_source("63")
    assert not is_bag(tmp_path / "empty")
    assert is_bag(tmp_path / "old.bag")
    assert is_bag(tmp_path / "old.bag.active")


@pytest.mark.parametrize("has_index", [True, False])
@pytest.mark.parametrize(("raw", "compressed", "chosen"), [(10, 10, IMAGE), (3, 10, COMPRESSED)])
def test_of_two_types_on_one_topic_one_is_played(
    tmp_path: Path, raw: int, compressed: int, chosen: str, has_index: bool
) -> None:
    topic = "/camera/image_raw"
    mcap = McapBuilder()
    items = images_of(drive(raw, ["cat"])) + images_of(drive(compressed, compressed=True))
    mcap.add_chunk(sorted(items, key=lambda item: item.time_ns))
    file = tmp_path / "drive.mcap"
    file.write_bytes(mcap.finish() if has_index else mcap.finish(""))
    other = COMPRESSED if chosen == IMAGE else IMAGE
    with contextlib.closing(BagSource(file)) as source:
        assert source.image_types == {topic.lstrip("/"): chosen}
        assert source.skipped == [f"{topic} as {other} is left out: it is read as {chosen}"]
        images = [item for item in source.items() if isinstance(item, RecordedImage)]
    assert len(images) == (raw if chosen == IMAGE else compressed)
    for image in images:
        assert TYPES.deserialize_cdr(image.message, chosen).header.frame_id == "camera"
