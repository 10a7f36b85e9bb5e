import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from ros_process import NodeProcess, Peer
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String
from waiting import wait_until

from fl_robot_ros.ros.image_message import to_compressed_message, to_image_message

StartNode = Callable[..., NodeProcess]
WriteVersion = Callable[..., Path]

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
DEEP = QoSProfile(depth=2000)
BEST_EFFORT = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
RED = np.full((24, 32, 3), (255, 0, 0), dtype=np.uint8)


class Camera:
    """Publishes red images at a rate from a thread, numbered by their stamps from 1 on."""

    def __init__(self, publisher: Any, rate_hz: float = 50.0, compressed: bool = False) -> None:
        self.sent = 0
        self._publisher = publisher
        self._period_sec = 1.0 / rate_hz
        self._convert = (
            partial(to_compressed_message, jpeg_quality=90) if compressed else to_image_message
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(self._period_sec):
            self._publisher.publish(self._convert(RED, self.sent + 1, "camera"))
            self.sent += 1

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture
def cameras() -> Iterator[list[Camera]]:
    started: list[Camera] = []
    yield started
    for camera in started:
        camera.stop()


def classes(suffix: str) -> list[str]:
    return [f"{colour}{suffix}" for colour in ("red", "green", "blue")]


def test_models_are_swapped_twice_and_no_frame_is_lost(
    start_node: StartNode,
    peer: Peer,
    write_version: WriteVersion,
    cameras: list[Camera],
    tmp_path: Path,
) -> None:
    versions = [write_version(f"v{n}", classes=classes(str(n))) for n in (1, 2, 3)]
    labels = peer.record(String, "fl/perception/label", DEEP)
    used = peer.record(
        String,
        "fl/perception/model_path",
        QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL),
    )
    paths = peer.publisher(String, "fl/model_path", LATCHED)
    images = peer.publisher(Image, "camera/image_raw", DEEP)
    # Published before the node is there: the path is latched.
    paths.publish(String(data=str(versions[0] / "model.keras")))
    node = start_node("perception", data_dir=tmp_path, queue_size=1000)
    wait_until(lambda: len(used) == 1, "the first model")
    wait_until(lambda: images.get_subscription_count() == 1, "the node subscribes")
    wait_until(
        lambda: peer.node.get_publishers_info_by_topic("/fl/perception/label"), "the label topic"
    )
    camera = Camera(images)
    cameras.append(camera)
    for index, version in enumerate(versions):
        if index:
            paths.publish(String(data=str(version / "model.keras")))
        wait_until(lambda n=index: len(used) == n + 1, f"model {index}")  # type: ignore[misc]
        name = f"red{index + 1}"
        wait_until(lambda w=name: sum(m.data == w for m in labels) >= 25, name)  # type: ignore[misc]
    camera.stop()
    wait_until(lambda: len(labels) >= camera.sent, f"a label for each of {camera.sent} frames")
    assert node.interrupt() == 0
    said = [message.data for message in labels]
    assert len(said) == camera.sent
    assert said == sorted(said)
    assert set(said) == {"red1", "red2", "red3"}
    assert [message.data for message in used] == [str(v / "model.tflite") for v in versions]
    assert f"labelled {camera.sent} frames; 0 could not be classified, 0 came" in node.output


def test_a_model_that_fails_leaves_the_old_one_at_work(
    start_node: StartNode,
    peer: Peer,
    write_version: WriteVersion,
    cameras: list[Camera],
    tmp_path: Path,
) -> None:
    good = write_version("v1")
    damaged = write_version("v2", classes=classes("2"))
    (damaged / "model.tflite").write_bytes(b"damaged")
    better = write_version("v3", classes=classes("3"))
    labels = peer.record(String, "fl/perception/label", DEEP)
    used = peer.record(String, "fl/perception/model_path", LATCHED)
    paths = peer.publisher(String, "fl/model_path", LATCHED)
    node = start_node("perception", data_dir=tmp_path, model_path=good, queue_size=1000)
    wait_until(lambda: used, "the model of the parameter")
    cameras.append(Camera(peer.publisher(Image, "camera/image_raw", DEEP)))
    wait_until(lambda: len(labels) > 5, "labels of the first model")
    wait_until(lambda: paths.get_subscription_count() == 1, "the node listens for paths")
    paths.publish(String(data=str(damaged / "model.keras")))
    node.wait_for_output("SHA-256")
    count = len(labels)
    wait_until(lambda: len(labels) > count + 10, "labels go on")
    assert {message.data for message in labels} == {"red"}
    paths.publish(String(data=str(better / "model.keras")))
    wait_until(lambda: labels[-1].data == "red3", "the next good model")
    assert [message.data for message in used] == [
        str(folder / "model.tflite") for folder in (good, better)
    ]
    assert node.interrupt() == 0
    errors = [line for line in node.output.splitlines() if "[ERROR]" in line]
    assert len(errors) == 1
    assert str(damaged) in errors[0]
    assert "v1 stays in use" in errors[0]
    assert "Traceback" not in node.output


@pytest.mark.parametrize("qos", [BEST_EFFORT, RELIABLE], ids=["best_effort", "reliable"])
@pytest.mark.parametrize("compressed", [False, True], ids=["raw", "compressed"])
def test_any_camera_is_understood(
    start_node: StartNode,
    peer: Peer,
    write_version: WriteVersion,
    cameras: list[Camera],
    qos: QoSProfile,
    compressed: bool,
) -> None:
    labels = peer.record(String, "fl/perception/label", DEEP)
    kind = CompressedImage if compressed else Image
    node = start_node("perception", model_path=write_version(), image_topics="[front/image]")
    cameras.append(Camera(peer.publisher(kind, "front/image", qos), compressed=compressed))
    wait_until(lambda: len(labels) >= 10, "labels")
    assert {message.data for message in labels} == {"red"}
    manner = "best effort" if qos is BEST_EFFORT else "reliable"
    assert f"subscribed to /front/image ({kind.__module__.split('.')[0]}/msg/" in node.output
    assert f"{manner})" in node.output


def test_a_camera_may_come_back_as_another(
    start_node: StartNode, peer: Peer, write_version: WriteVersion, cameras: list[Camera]
) -> None:
    labels = peer.record(String, "fl/perception/label", DEEP)
    node = start_node("perception", model_path=write_version())
    first = peer.publisher(Image, "camera/image_raw", RELIABLE)
    cameras.append(Camera(first))
    wait_until(lambda: len(labels) >= 5, "labels of the reliable camera")
    cameras[0].stop()
    peer.node.destroy_publisher(first)
    # From another participant: DDS lets one participant give a topic one type only.
    other = Peer("other_camera")
    try:
        second = other.publisher(CompressedImage, "camera/image_raw", BEST_EFFORT)
        cameras.append(Camera(second, compressed=True))
        count = len(labels)
        wait_until(lambda: len(labels) >= count + 5, "labels of the second camera")
        cameras[1].stop()
    finally:
        other.close()
    assert "CompressedImage, best effort" in node.output


def test_the_annotated_image_is_made_for_a_listener(
    start_node: StartNode, peer: Peer, write_version: WriteVersion, cameras: list[Camera]
) -> None:
    labels = peer.record(String, "/robot1/fl/perception/label", DEEP)
    start_node("perception", ("-r", "__ns:=/robot1"), model_path=write_version())
    camera = Camera(peer.publisher(Image, "/robot1/camera/image_raw", DEEP))
    cameras.append(camera)
    wait_until(lambda: len(labels) >= 5, "labels without a listener")
    annotated = peer.record(Image, "/robot1/fl/perception/image", DEEP)
    first = wait_until(lambda: annotated and annotated[0], "an annotated image")
    assert (first.encoding, first.height, first.width, first.step) == ("rgb8", 24, 32, 96)
    assert 1 <= first.header.stamp.nanosec <= camera.sent
    drawn = np.frombuffer(first.data, dtype=np.uint8).reshape(RED.shape)
    assert (drawn[:8] == RED[:8]).all()
    assert (drawn != RED).any()


def test_frames_that_cannot_be_classified_are_counted(
    start_node: StartNode, peer: Peer, write_version: WriteVersion, tmp_path: Path
) -> None:
    labels = peer.record(String, "fl/perception/label", DEEP)
    used = peer.record(String, "fl/perception/model_path", LATCHED)
    images = peer.publisher(Image, "camera/image_raw", DEEP)
    paths = peer.publisher(String, "fl/model_path", LATCHED)
    node = start_node("perception", data_dir=tmp_path, queue_size=10, min_confidence=0.9)
    wait_until(lambda: images.get_subscription_count() == 1, "the node subscribes")
    images.publish(to_image_message(RED, 1))  # Comes before the first model.
    paths.publish(String(data=str(write_version())))
    wait_until(lambda: used, "the model")
    for number in range(3):
        broken = to_image_message(RED, number)
        broken.encoding = "nonsense"
        images.publish(broken)
    short = to_image_message(RED, 9)
    short.height = 1000
    images.publish(short)
    images.publish(to_image_message(RED, 10))
    images.publish(to_image_message(np.full_like(RED, 128), 11))  # Nothing prevails.
    wait_until(lambda: len(labels) == 6, "a label for each frame after the first model")
    assert [message.data for message in labels] == [*4 * [""], "red", ""]
    assert node.interrupt() == 0
    assert "labelled 2 frames; 4 could not be classified, 1 came before" in node.output
    assert node.output.count("[ERROR]") == 2


def test_signals_end_the_node_once_and_for_all(
    start_node: StartNode, write_version: WriteVersion
) -> None:
    node = start_node("perception", model_path=write_version())
    node.wait_for_output("is in use")
    assert node.interrupt(times=3) == 0
    assert "Traceback" not in node.output


@pytest.mark.parametrize(
    ("parameters", "name"),
    [({"queue_size": 0}, "queue_size"), ({"min_confidence": "high"}, "min_confidence")],
)
def test_an_invalid_setting_ends_the_node_with_one_line(
    start_node: StartNode, parameters: dict[str, object], name: str
) -> None:
    node = start_node("perception", **parameters)
    assert node.wait() == 2
    (line,) = node.output.splitlines()
    assert name in line
    assert "expected" in line
