"""`fl_client` by the names of its topics, and when its data folder goes away."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.qos import QoSProfile
from ros_process import NodeProcess, Peer, StartNode
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Int32, String
from waiting import wait_until

from fl_robot_ros.capture.verdicts import Verdict
from fl_robot_ros.dataset.dataset import Dataset
from fl_robot_ros.dataset.sample import Sample
from fl_robot_ros.demo.recording import record_bag
from fl_robot_ros.ros.image_message import to_compressed_message, to_image_message
from fl_robot_ros.ros.qos import LATCHED, best_effort_qos, reliable_qos

GREY = np.full((48, 64, 3), 200, np.uint8)
WHOLE = "0,0 1,0 1,1 0,1"


def start_client(
    start_node: StartNode, tmp_path: Path, *ros_args: str, **parameters: Any
) -> NodeProcess:
    values = {
        "data_dir": tmp_path / "robot",
        "robot_name": "tester",
        "sample_rate_hz": 1000.0,
        "label_settle_sec": 0.5,
        **parameters,
    }
    return start_node("client", ros_args, **values)


def publish(peer: Peer, topic: str, kind: type = Image, count: int = 3) -> None:
    """Publish grey frames as soon as somebody listens."""
    camera = peer.publisher(kind, topic, reliable_qos(50))
    wait_until(camera.get_subscription_count, f"a subscription to {topic}")
    convert = (
        to_image_message if kind is Image else partial(to_compressed_message, jpeg_quality=90)
    )
    for number in range(count):
        camera.publish(convert(GREY, 10**18 + number * 10**9))


def samples(tmp_path: Path, count: int) -> list[Sample]:
    """Return the samples of the client's dataset when there are so many."""
    data = tmp_path / "robot" / "dataset"
    wait_until(data.exists, "the dataset")
    with Dataset(data) as dataset:
        return (
            wait_until(
                lambda: (
                    found
                    if len(found := dataset.samples() + dataset.unlabelled()) == count
                    else None
                ),
                f"{count} samples",
            )
            or []
        )


def is_black(tmp_path: Path, sample: Sample) -> bool:
    path = tmp_path / "robot" / "dataset" / sample.path
    # A sample's row is there a moment before its file is in its place.
    wait_until(path.exists, "the image")
    image = cv2.imread(str(path))
    assert image is not None
    return bool(image.max() < 8)


# As written in image_topics, as named by masks and labels, and in full.
NAMES = (
    ("camera/front", "camera/front", "/seen/front"),
    ("camera/rear", "rear", "/seen/rear"),
    ("camera/left", "/r1/camera/left", "/seen/left"),
    ("camera/right", "/seen/right", "/seen/right"),
    ("~/up", "~/up", "/r1/fl_client/up"),
    ("~/down", "fl_client/down", "/r1/fl_client/down"),
)


def test_masks_and_labels_follow_topics_to_their_full_names(
    start_node: StartNode, peer: Peer, tmp_path: Path
) -> None:
    ros_args = ["-r", "__ns:=/r1"]
    for written, _, full in NAMES:
        if full.startswith("/seen"):
            ros_args += ["-r", f"{written}:={full}"]
    node = start_client(
        start_node,
        tmp_path,
        *ros_args,
        image_topics=[written for written, _, _ in NAMES],
        privacy_masks=[f"{named}: {WHOLE}" for _, named, _ in NAMES],
        topic_labels=[f"{named}: label of {full}" for _, named, full in NAMES],
    )
    for _, _, full in NAMES:
        publish(peer, full)
    stored = samples(tmp_path, 3 * len(NAMES))
    labels = {(sample.topic, sample.label) for sample in stored}
    assert labels == {(full, f"label of {full}") for _, _, full in NAMES}
    assert [sample.topic for sample in stored if not is_black(tmp_path, sample)] == []
    assert "none of image_topics" not in node.output


def test_a_compressed_camera_is_masked_by_the_name_of_its_raw_topic(
    start_node: StartNode, peer: Peer, tmp_path: Path
) -> None:
    start_client(
        start_node,
        tmp_path,
        image_topics="[camera/image_raw/compressed]",
        privacy_masks=f"['camera/image_raw: {WHOLE}']",
        topic_labels="['camera/image_raw: pallet']",
    )
    publish(peer, "camera/image_raw/compressed", CompressedImage)
    for sample in samples(tmp_path, 3):
        assert sample.label == "pallet"
        assert is_black(tmp_path, sample)


def test_a_mask_or_label_of_no_camera_is_warned_of(start_node: StartNode, tmp_path: Path) -> None:
    node = start_client(
        start_node,
        tmp_path,
        image_topics="[camera/image_raw]",
        privacy_masks=f"['camera/image_rwa: {WHOLE}', 'image_raw: {WHOLE}']",
        topic_labels="['rear: pallet']",
    )
    node.wait_for_output("images in")
    for line in ("privacy_masks names camera/image_rwa", "topic_labels names rear"):
        assert f"{line}, which is none of image_topics (camera/image_raw)" in node.output
    assert node.output.count("is none of image_topics") == 2


def test_a_bag_under_another_name_is_masked_and_named(
    start_node: StartNode, tmp_path: Path
) -> None:
    def signs() -> Iterator[tuple[Any, str]]:
        for _ in range(4):
            yield GREY, ""

    bag = tmp_path / "bag"
    record_bag(
        bag, signs(), compressed=True, start_ns=10**18, image_topic="/camera/image_raw/compressed"
    )
    node = start_client(
        start_node,
        tmp_path,
        bag_paths=f"[{bag}]",
        privacy_masks=f"['camera/image_raw: {WHOLE}']",
        topic_labels="['camera/image_raw: pallet']",
    )
    node.wait_for_output("has none of image_topics (camera/image_raw")
    assert "all its image topics were read, /camera/image_raw/compressed" in node.output
    for sample in samples(tmp_path, 4):
        assert sample.label == "pallet"
        assert is_black(tmp_path, sample)


@pytest.mark.parametrize("depth", [1, 5])
def test_a_latched_label_counts_that_was_published_before_the_start(
    start_node: StartNode, peer: Peer, tmp_path: Path, depth: int
) -> None:
    qos = QoSProfile(depth=depth, reliability=LATCHED.reliability, durability=LATCHED.durability)
    latched = peer.publisher(String, "fl/label", qos)
    latched.publish(String(data="pallet"))
    start_client(start_node, tmp_path, label_settle_sec=4.0)
    publish(peer, "camera/image_raw")
    assert {sample.label for sample in samples(tmp_path, 3)} == {"pallet"}


def test_latched_and_other_labels_go_on_together(
    start_node: StartNode, peer: Peer, tmp_path: Path
) -> None:
    node = start_client(start_node, tmp_path, image_topics="[one, two, three]")
    plain = peer.publisher(String, "fl/label", reliable_qos(5))
    wait_until(plain.get_subscription_count, "a subscription to fl/label")
    plain.publish(String(data="red"))
    publish(peer, "one", count=2)
    wait_until(lambda: "subscribed to /one" in node.output, "the first camera")
    samples(tmp_path, 2)
    # Nobody is told of a subscription that does not suit them.
    assert "incompatible QoS" not in node.output
    latched = peer.publisher(String, "fl/label", LATCHED)
    wait_until(lambda: latched.get_subscription_count() == 2, "both subscriptions")
    latched.publish(String(data="bad\nlabel"))
    latched.publish(String(data="green"))
    publish(peer, "two", count=3)
    samples(tmp_path, 5)
    plain.publish(String(data="blue"))
    publish(peer, "three", count=4)
    labels = {(sample.topic, sample.label) for sample in samples(tmp_path, 9)}
    assert labels == {("/one", "red"), ("/two", "green"), ("/three", "blue")}
    # A publisher that came after the latched one does not suit that one's subscription.
    late = peer.publisher(String, "fl/label", reliable_qos(5))
    wait_until(late.get_subscription_count, "a subscription to the late publisher")
    late.publish(String(data="late"))
    diagnostics = peer.record(DiagnosticArray, "/diagnostics", reliable_qos(5))
    wait_until(
        lambda: diagnostics and capture_status(diagnostics)[1]["newest_label"] == "late",
        "the late label",
    )
    assert capture_status(diagnostics)[1]["bad_label"] == "1"
    assert "incompatible QoS" not in node.output


def test_labels_of_a_best_effort_publisher_count_once_beside_those_of_a_reliable_one(
    start_node: StartNode, peer: Peer, tmp_path: Path
) -> None:
    node = start_client(start_node, tmp_path)
    messages = peer.record(DiagnosticArray, "/diagnostics", reliable_qos(50))
    hurried = peer.publisher(String, "fl/label", best_effort_qos(5))
    plain = peer.publisher(String, "fl/label", reliable_qos(5))
    wait_until(hurried.get_subscription_count, "a subscription to the best-effort publisher")
    # The reliable one is heard by both subscriptions.
    wait_until(lambda: plain.get_subscription_count() == 2, "both subscriptions")
    for publisher, label in ((hurried, "red"), (plain, "green"), (hurried, "blue")):
        publisher.publish(String(data=label))
        wait_until(
            lambda label=label: messages and capture_status(messages)[1]["newest_label"] == label,
            label,
        )
    assert capture_status(messages)[1]["labels_received"] == "3"
    assert "incompatible QoS" not in node.output


def test_labels_of_another_type_are_named(
    start_node: StartNode, peer: Peer, tmp_path: Path
) -> None:
    latched = peer.publisher(String, "fl/label", LATCHED)
    client = start_client(start_node, tmp_path)
    wait_until(lambda: latched.get_subscription_count() == 2, "the client listens")
    stranger = Peer()
    try:
        stranger.publisher(Int32, "fl/label", reliable_qos(10))
        line = (
            "/fl/label is published as std_msgs/msg/Int32, which is ignored: labels are std_msgs"
        )
        wait_until(lambda: line in client.output, "the type is named")
        assert client.output.count(line) == 1
    finally:
        stranger.close()


def capture_status(messages: list[DiagnosticArray]) -> tuple[DiagnosticStatus, dict[str, str]]:
    """Return the newest diagnostics of the capture, and their values."""
    status = next(s for s in messages[-1].status if s.name.endswith("capture"))
    return status, {item.key: item.value for item in status.values}


def test_a_camera_that_is_named_twice_counts_once(
    start_node: StartNode, peer: Peer, tmp_path: Path
) -> None:
    names = "[camera, /camera, front]"
    node = start_client(start_node, tmp_path, "-r", "front:=camera", image_topics=names)
    messages = peer.record(DiagnosticArray, "/diagnostics", reliable_qos(50))
    publish(peer, "camera")
    samples(tmp_path, 3)
    count = len(messages)
    wait_until(lambda: len(messages) >= count + 2, "more diagnostics")
    _, values = capture_status(messages)
    assert sum(int(values.get(verdict, 0)) for verdict in Verdict) == 3
    assert node.output.count("subscribed to /camera") == 1


def test_an_absent_camera_and_labels_under_another_name_are_named(
    start_node: StartNode, peer: Peer, tmp_path: Path
) -> None:
    messages = peer.record(DiagnosticArray, "/diagnostics", reliable_qos(50))
    camera = peer.publisher(Image, "camera", reliable_qos(50))
    peer.publisher(String, "text", reliable_qos(1))
    node = start_client(start_node, tmp_path, image_topics="[camera, absent, text]")

    def summary() -> str:
        camera.publish(to_image_message(GREY, time.time_ns()))
        return str(capture_status(messages)[0].message) if messages else ""

    expected = "capturing, no frames from /absent, /text, no label on /fl/label yet"
    wait_until(lambda: summary() == expected, expected)
    status, values = capture_status(messages)
    assert status.level == DiagnosticStatus.WARN
    assert (values["labels_received"], values["newest_label"]) == ("0", "")
    assert "no frame on /absent for 10 s: it has no publisher" in node.output
    assert "no frame on /text for 10 s: no image is published on it" in node.output
    label = peer.publisher(String, "fl/label", reliable_qos(5))
    wait_until(label.get_subscription_count, "a subscription to fl/label")
    label.publish(String(data="pallet"))
    wait_until(lambda: "no label" not in summary(), "the label")
    _, values = capture_status(messages)
    assert (values["labels_received"], values["newest_label"]) == ("1", "pallet")


@pytest.mark.parametrize("lost", ["robot", "robot/dataset", "robot/dataset/index.sqlite3"])
def test_a_dataset_that_goes_away_is_an_error_in_diagnostics_and_not_the_end(
    start_node: StartNode, peer: Peer, tmp_path: Path, lost: str
) -> None:
    node = start_client(start_node, tmp_path, topic_labels="['camera/image_raw: pallet']")
    messages: list[DiagnosticArray] = peer.record(
        DiagnosticArray, "/diagnostics", reliable_qos(50)
    )

    def dataset_status() -> DiagnosticStatus:
        return next(s for s in messages[-1].status if s.name.endswith("dataset"))

    publish(peer, "camera/image_raw")
    samples(tmp_path, 3)
    wait_until(lambda: messages and dataset_status().level == DiagnosticStatus.OK, "diagnostics")
    if lost.endswith("sqlite3"):
        for file in (tmp_path / "robot" / "dataset").glob("index.sqlite3*"):
            file.write_bytes(b"broken" * 9999)
    else:
        (tmp_path / lost).rename(tmp_path / "elsewhere")
    wait_until(lambda: dataset_status().level == DiagnosticStatus.ERROR, "the error")
    assert "dataset" in dataset_status().message
    count = len(messages)
    wait_until(lambda: len(messages) >= count + 2, "more diagnostics")
    assert node.interrupt() == 0
    assert "Traceback" not in node.output


@pytest.mark.parametrize("name", ["perception", "streamer"])
def test_the_other_nodes_refuse_a_wrong_topic_name_too(
    start_node: StartNode, tmp_path: Path, name: str
) -> None:
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "1.png"), GREY)
    options: dict[str, object] = {"image_topics": "[camera/image-raw]"}
    if name == "streamer":
        options = {"image_topic": "camera/image-raw", "source": tmp_path / "images"}
    node = start_node(name, **options)
    assert node.wait() == 2
    assert "topic name 'camera/image-raw' is invalid" in node.output
    assert "Traceback" not in node.output
