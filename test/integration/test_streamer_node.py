from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from bag_recorder import START_NS, Item, drive, make_image, record
from rclpy.qos import QoSProfile
from ros_process import NodeProcess, Peer
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String
from waiting import wait_until

from fl_robot_ros.images.decode import decode_frame
from fl_robot_ros.ros.image_message import frame_from_compressed, frame_from_image

StartNode = Callable[..., NodeProcess]

DEEP = QoSProfile(depth=2000)


def stamp_ns(message: Any) -> int:
    return int(message.header.stamp.sec) * 1_000_000_000 + int(message.header.stamp.nanosec)


def changes(labels: list[Any]) -> list[str]:
    """Return the labels without the repetitions that come once a second."""
    said = [message.data for message in labels]
    return [label for index, label in enumerate(said) if not index or said[index - 1] != label]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with 4 images of each of three classes."""
    for index, label in enumerate(("cat", "dog", "stop%2Esign")):
        folder = tmp_path / "images" / label
        folder.mkdir(parents=True)
        for number in range(4):
            bgr = cv2.cvtColor(make_image(10 * index + number), cv2.COLOR_RGB2BGR)
            cv2.imwrite(str(folder / f"{number}.png"), bgr)
    return tmp_path / "images"


@pytest.mark.parametrize("compressed", [False, True], ids=["rgb8", "compressed"])
def test_a_bag_is_replayed_completely(
    start_node: StartNode, peer: Peer, tmp_path: Path, compressed: bool
) -> None:
    items = drive(60, ("cat", "dog", "cow"), rate_hz=30.0, compressed=compressed, size=(240, 320))
    record(tmp_path / "bag", items)
    labels = peer.record(String, "/robot1/fl/label", DEEP)
    kind = CompressedImage if compressed else Image
    images = peer.record(kind, "/robot1/camera/image_raw", DEEP)
    node = start_node(
        "streamer", ("-r", "__ns:=/robot1"), source=tmp_path / "bag", playback_speed=2.0
    )
    assert node.wait() == 0
    assert "sent 60 frames" in node.output
    wait_until(lambda: len(images) == 60, f"{len(images)} of 60 frames arrived")
    frames = [item for item in items if not isinstance(item.content, str)]
    assert [stamp_ns(image) for image in images] == [f.time_ns - 5_000_000 for f in frames]
    convert: Any = frame_from_compressed if compressed else frame_from_image
    for image, recorded in zip(images, frames, strict=True):
        decoded = decode_frame(convert(image, "camera", 1)).astype(int)
        tolerance = 40 if compressed else 0
        assert np.abs(decoded - np.asarray(recorded.content)).max() <= tolerance
    assert changes(labels) == ["cat", "dog", "cow"]


def test_a_bag_waits_for_subscribers_on_all_its_cameras(
    start_node: StartNode, peer: Peer, tmp_path: Path
) -> None:
    front = drive(30, topic="/front/image", rate_hz=30.0)
    rear = [
        Item("/rear/image", item.time_ns + 10, item.content, compressed=True)
        for item in front
        if not isinstance(item.content, str)
    ]
    record(tmp_path / "bag", sorted(front + rear, key=lambda item: item.time_ns))
    front_images = peer.record(Image, "front/image", DEEP)
    peer.record(String, "fl/label", DEEP)  # so that the streamer does not wait for it
    node = start_node("streamer", source=tmp_path / "bag", wait_for_subscriber_sec=30.0)
    wait_until(
        lambda: peer.node.get_publishers_info_by_topic("/rear/image"), "the streamer is there"
    )
    rear_images = peer.record(CompressedImage, "rear/image", DEEP)
    assert node.wait() == 0
    wait_until(lambda: len(front_images) == len(rear_images) == 30, "all frames of both cameras")


def test_a_folder_is_streamed_with_its_labels(
    start_node: StartNode, peer: Peer, folder: Path
) -> None:
    (folder / "cat" / "broken.png").write_bytes(b"no image")
    labels = peer.record(String, "fl/label", DEEP)
    images = peer.record(Image, "front/image", DEEP)
    node = start_node("streamer", source=folder, image_topic="front/image", rate_hz=50)
    assert node.wait() == 0
    assert "sent 12 frames" in node.output
    assert node.output.count("left out:") == 1
    wait_until(lambda: len(images) == 12, "all frames")
    wait_until(lambda: labels[-1].data == "", "the last label is taken back")
    assert changes(labels) == ["cat", "dog", "stop.sign", ""]
    numbers = [10 * index + number for index in range(3) for number in range(4)]
    for image, number in zip(images, numbers, strict=True):
        assert image.encoding == "rgb8"
        np.testing.assert_array_equal(
            np.frombuffer(image.data, np.uint8).reshape(24, 32, 3), make_image(number)
        )
    stamps = [stamp_ns(image) for image in images]
    assert stamps == sorted(stamps)
    assert stamps[0] > START_NS


def test_a_video_is_streamed_compressed_under_one_label(
    start_node: StartNode, peer: Peer, tmp_path: Path
) -> None:
    path = tmp_path / "drive.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (64, 48))
    for number in range(10):
        writer.write(np.full((48, 64, 3), 20 * number, dtype=np.uint8))
    writer.release()
    labels = peer.record(String, "fl/label", DEEP)
    images = peer.record(CompressedImage, "camera/image_raw", DEEP)
    node = start_node("streamer", source=path, compressed="true", label=7, playback_speed=4.0)
    assert node.wait() == 0
    wait_until(lambda: len(images) == 10, "all frames")
    wait_until(lambda: changes(labels) == ["7", ""], "the label and its end")
    assert images[0].format == "jpeg"
    assert decode_frame(frame_from_compressed(images[9], "camera", 1)).mean() > 150


def test_a_label_of_ones_own_replaces_the_recorded_ones(
    start_node: StartNode, peer: Peer, tmp_path: Path
) -> None:
    record(tmp_path / "bag", drive(6, ("cat", "dog")))
    labels = peer.record(String, "fl/label", DEEP)
    images = peer.record(Image, "camera/image_raw", DEEP)
    node = start_node("streamer", source=tmp_path / "bag", label="cow", rate_hz=100.0)
    assert node.wait() == 0
    wait_until(lambda: len(images) == 6, "all frames")
    wait_until(lambda: labels, "the label")
    assert set(changes(labels)) <= {"cow", ""}
    assert labels[0].data == "cow"


def test_an_endless_stream_repeats_its_label_and_ends_at_a_signal(
    start_node: StartNode, peer: Peer, folder: Path
) -> None:
    labels = peer.record(String, "fl/label", DEEP)
    images = peer.record(Image, "camera/image_raw", DEEP)
    node = start_node("streamer", source=folder / "dog", label="dog", loop="true", rate_hz=20.0)
    wait_until(lambda: len(images) > 30, "more frames than the folder has")
    wait_until(lambda: len(labels) >= 2, "the label once more")
    assert changes(labels) == ["dog"]
    assert node.interrupt(times=2) == 0
    assert "Traceback" not in node.output
    assert " frames" in node.output.splitlines()[-1]


def test_a_stream_without_listeners_begins_after_the_wait(
    start_node: StartNode, folder: Path
) -> None:
    node = start_node("streamer", source=folder, rate_hz=1000.0, wait_for_subscriber_sec=0.2)
    assert node.wait() == 0
    assert "nobody subscribes to camera/image_raw" in node.output
    assert "sent 12 frames" in node.output


@pytest.mark.parametrize(
    ("parameters", "exit_code", "message"),
    [
        ({"source": "/absent"}, 1, "there is no '/absent'"),
        ({"source": 63}, 1, "camera 63"),
        ({"rate_hz": -1.0}, 2, "rate_hz is -1.0; expected 0 to 1000 Hz"),
        ({"loop": "perhaps"}, 2, "loop is 'perhaps'; expected true or false"),
    ],
)
def test_what_cannot_be_streamed_gets_one_line(
    start_node: StartNode, parameters: dict[str, object], exit_code: int, message: str
) -> None:
    node = start_node("streamer", **parameters)
    assert node.wait() == exit_code
    (line,) = node.output.splitlines()
    assert message in line
