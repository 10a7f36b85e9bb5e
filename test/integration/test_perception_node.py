import os
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from numpy.typing import NDArray
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from ros_process import NodeProcess, Peer
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String
from waiting import wait_until

from fl_robot_ros.delivery.hold import HoldKind
from fl_robot_ros.delivery.model_store import ModelStore
from fl_robot_ros.ros.image_message import to_compressed_message, to_image_message

StartNode = Callable[..., NodeProcess]
WriteVersion = Callable[..., Path]

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
DEEP = QoSProfile(depth=2000)
BEST_EFFORT = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
RED, GREEN, BLUE = (
    np.full((24, 32, 3), colour, dtype=np.uint8)
    for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))
)


class Camera:
    """Publishes images in turn at a rate from a thread, numbered by their stamps from 1 on."""

    def __init__(
        self,
        publisher: Any,
        rate_hz: float = 50.0,
        compressed: bool = False,
        images: Sequence[NDArray[np.uint8]] = (RED,),
    ) -> None:
        self.sent = 0
        self._images = images
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
            image = self._images[self.sent % len(self._images)]
            self._publisher.publish(self._convert(image, self.sent + 1, "camera"))
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


def values_of(status: DiagnosticStatus) -> dict[str, str]:
    return {value.key: value.value for value in status.values}


def test_models_are_swapped_twice_and_no_frame_is_lost(
    start_node: StartNode,
    peer: Peer,
    write_version: WriteVersion,
    cameras: list[Camera],
    tmp_path: Path,
) -> None:
    kinds = ("colour", "int8", "uint8")
    versions = [
        write_version(f"v0000{n}", kind, classes=classes(str(n)))
        for n, kind in enumerate(kinds, 1)
    ]
    store = ModelStore(tmp_path / "models")
    current = str(tmp_path / "models" / "current" / "model.keras")
    store.use("v00001")
    labels = peer.record(String, "fl/perception/label", DEEP)
    used = peer.record(
        String,
        "fl/perception/model_path",
        QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL),
    )
    paths = peer.publisher(String, "fl/model_path", LATCHED)
    images = peer.publisher(Image, "camera/image_raw", DEEP)
    # Published before the node is there: the path is latched.
    paths.publish(String(data=current))
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
            store.use(version.name)  # The link changes under the node.
            paths.publish(String(data=current))
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
    labels = peer.record(String, "fl/perception/label", DEEP)
    used = peer.record(String, "fl/perception/model_path", LATCHED)
    paths = peer.publisher(String, "fl/model_path", LATCHED)
    node = start_node("perception", data_dir=tmp_path, model_path=good, queue_size=1000)
    wait_until(lambda: used, "the model of the parameter")
    cameras.append(Camera(peer.publisher(Image, "camera/image_raw", DEEP)))
    wait_until(lambda: len(labels) > 5, "labels of the first model")
    wait_until(lambda: paths.get_subscription_count() == 1, "the node listens for paths")
    os.mkfifo(tmp_path / "models" / "pipe")
    (tmp_path / "models" / "circle").symlink_to("circle")
    for path in ("relative", "/dev/zero", str(tmp_path / "models/pipe"), "", "/" + 9999 * "x"):
        paths.publish(String(data=path))
        node.wait_for_output(f"the model at {path!r} was not taken")
    content = (damaged / "model.tflite").read_bytes()
    (damaged / "model.tflite").write_bytes(b"damaged")
    paths.publish(String(data=str(damaged / "model.keras")))
    node.wait_for_output("SHA-256")
    count = len(labels)
    wait_until(lambda: len(labels) > count + 10, "labels go on")
    assert {message.data for message in labels} == {"red"}
    # What failed is tried again when it is announced again.
    (damaged / "model.tflite").write_bytes(content)
    paths.publish(String(data=str(damaged / "model.keras")))
    wait_until(lambda: labels[-1].data == "red2", "the mended model")
    assert [message.data for message in used] == [
        str(folder / "model.tflite") for folder in (good, damaged)
    ]
    assert node.interrupt() == 0
    errors = [line for line in node.output.splitlines() if "[ERROR]" in line]
    assert len(errors) == 6
    assert str(damaged) in errors[-1]
    assert all("v1 stays in use" in line for line in errors)
    assert "Traceback" not in node.output


def test_any_camera_is_understood(
    start_node: StartNode, peer: Peer, write_version: WriteVersion, cameras: list[Camera]
) -> None:
    kinds = {
        "hurried/raw": (Image, BEST_EFFORT, "sensor_msgs/msg/Image, best effort"),
        "hurried/jpeg": (CompressedImage, BEST_EFFORT, "CompressedImage, best effort"),
        "plain/raw": (Image, RELIABLE, "sensor_msgs/msg/Image, reliable"),
        "plain/jpeg": (CompressedImage, RELIABLE, "CompressedImage, reliable"),
    }
    labels = {name: peer.record(String, f"fl/perception/{name}/label", DEEP) for name in kinds}
    node = start_node("perception", model_path=write_version(), image_topics=[*kinds])
    for name, (kind, qos, _) in kinds.items():
        publisher = peer.publisher(kind, name, qos)
        cameras.append(Camera(publisher, rate_hz=20.0, compressed=kind is CompressedImage))
    for name, (_, _, told) in kinds.items():
        wait_until(lambda n=name: len(labels[n]) >= 10, f"labels of {name}")  # type: ignore[misc]
        assert {message.data for message in labels[name]} == {"red"}, name
        [line] = [line for line in node.output.splitlines() if f"subscribed to /{name} " in line]
        assert f"{told})" in line


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
    start_node(
        "perception",
        ("-r", "__ns:=/robot1"),
        model_path=write_version(),
    )
    red = np.full((480, 640, 3), (255, 0, 0), np.uint8)
    camera = Camera(peer.publisher(Image, "/robot1/camera/image_raw", DEEP), images=[red])
    cameras.append(camera)
    wait_until(lambda: len(labels) >= 5, "labels without a listener")
    annotated = peer.record(Image, "/robot1/fl/perception/image", DEEP)
    first = wait_until(lambda: annotated and annotated[0], "an annotated image")
    # Enlarged tenfold, so that the text is legible.
    assert (first.encoding, first.height, first.width, first.step) == ("rgb8", 240, 320, 960)
    assert first.header.frame_id == "camera"
    assert 1 <= first.header.stamp.nanosec <= camera.sent
    drawn = np.frombuffer(first.data, dtype=np.uint8).reshape(240, 320, 3)
    assert (drawn[:80] == (255, 0, 0)).all()
    assert (drawn != (255, 0, 0)).any()


def test_frames_that_cannot_be_classified_are_counted(
    start_node: StartNode, peer: Peer, write_version: WriteVersion, tmp_path: Path
) -> None:
    labels = peer.record(String, "fl/perception/label", DEEP)
    results = peer.record(DiagnosticArray, "fl/perception/result", DEEP)
    used = peer.record(String, "fl/perception/model_path", LATCHED)
    images = peer.publisher(Image, "camera/image_raw", DEEP)
    paths = peer.publisher(String, "fl/model_path", LATCHED)
    node = start_node("perception", data_dir=tmp_path, queue_size=10, min_confidence=0.9)
    wait_until(lambda: images.get_subscription_count() == 1, "the node subscribes")
    wait_until(lambda: peer.node.count_publishers("/fl/perception/result"), "the results")
    images.publish(to_image_message(RED, 1))  # Comes before the first model.
    paths.publish(String(data=str(write_version())))
    wait_until(lambda: used, "the model")
    for number in range(3):
        broken = to_image_message(RED, 2 + number, "front")
        broken.encoding = "nonsense"
        images.publish(broken)
    short = to_image_message(RED, 9)
    short.height = 1000
    images.publish(short)
    images.publish(to_image_message(RED, 10, "front"))
    images.publish(to_image_message(np.full_like(RED, 128), 11, "front"))  # Nothing prevails.
    wait_until(lambda: len(labels) == 6, "a label for each frame after the first model")
    assert [message.data for message in labels] == [*4 * [""], "red", ""]
    wait_until(lambda: len(results) == 6, "a result for each of them")
    assert [message.header.stamp.nanosec for message in results] == [2, 3, 4, 9, 10, 11]
    assert {message.header.frame_id for message in results[:3] + results[4:]} == {"front"}
    broken_result, *_, sure, unsure = (message.status[0] for message in results)
    assert broken_result.level == DiagnosticStatus.ERROR
    assert "nonsense" in broken_result.message
    assert (sure.level, sure.name, sure.message) == (
        DiagnosticStatus.OK,
        "/camera/image_raw",
        "red",
    )
    assert values_of(sure) == {
        "label": "red",
        "model_version": "v00001",
        "confidence": "1.0000",
        "score red": "1.0000",
        "score green": "0.0000",
        "score blue": "0.0000",
    }
    assert (unsure.level, values_of(unsure)["label"]) == (DiagnosticStatus.WARN, "")
    assert node.interrupt() == 0
    assert "labelled 2 frames; 4 could not be classified, 1 came before" in node.output
    assert node.output.count("[ERROR]") == 2


def test_two_cameras_get_the_model_and_have_results_of_their_own(
    start_node: StartNode, peer: Peer, write_version: WriteVersion, cameras: list[Camera]
) -> None:
    topics = ("front/image_raw", "rear/image_raw")
    labels = {
        topic: peer.record(String, f"/robot1/fl/perception/{topic}/label", DEEP)
        for topic in topics
    }
    results = {
        topic: peer.record(DiagnosticArray, f"/robot1/fl/perception/{topic}/result", DEEP)
        for topic in topics
    }
    diagnostics = peer.record(DiagnosticArray, "/diagnostics", DEEP)
    start_node(
        "perception",
        ("-r", "__ns:=/robot1"),
        model_path=write_version(),
        # The second time under its full name: it is one camera.
        image_topics="[front/image_raw, /robot1/rear/image_raw, /robot1/front/image_raw]",
    )
    for topic, image, rate_hz in zip(topics, (RED, GREEN), (100.0, 5.0), strict=True):
        publisher = peer.publisher(Image, f"/robot1/{topic}", DEEP)
        cameras.append(Camera(publisher, rate_hz, images=[image]))
    for topic, label in zip(topics, ("red", "green"), strict=True):
        wait_until(lambda t=topic: len(labels[t]) >= 10, f"labels of {topic}")  # type: ignore[misc]
        assert {message.data for message in labels[topic]} == {label}
        name = wait_until(lambda t=topic: results[t], topic)[0].status[0].name  # type: ignore[misc]
        assert name == f"/robot1/{topic}"

    def status() -> DiagnosticStatus | None:
        statuses = [message.status[0] for message in diagnostics]
        return next((one for one in statuses if float(values_of(one)["rate_hz"]) > 0), None)

    found = wait_until(status, "diagnostics")
    values = values_of(found)
    assert (found.name, found.hardware_id) == ("robot1: fl_perception", "robot1")
    assert values["model_version"] == "v00001"
    assert values["probation"] == "running"
    for name in ("latency_ms p50", "latency_ms p95", "age_ms p50", "age_ms p95"):
        assert float(values[name]) > 0
    for topic in topics:
        assert f"rate_hz /robot1/{topic}" in values
        assert f"dropped /robot1/{topic}" in values


def test_a_model_that_says_one_class_to_all_is_left_and_taken_back_in_the_store(
    start_node: StartNode,
    peer: Peer,
    write_version: WriteVersion,
    cameras: list[Camera],
    tmp_path: Path,
) -> None:
    good, bad = write_version(), write_version("v00002", "red", previous="v00001")
    store = ModelStore(tmp_path / "models")
    store.use("v00001")
    labels = peer.record(String, "fl/perception/label", DEEP)
    diagnostics = peer.record(DiagnosticArray, "/diagnostics", DEEP)
    announced = peer.record(String, "fl/model_path", LATCHED)
    used = peer.record(String, "fl/perception/model_path", LATCHED)
    # It announces what is current in the store, whoever changes that.
    start_node("client", data_dir=tmp_path, capture_enabled=False, published_file="model.tflite")
    node = start_node("perception", data_dir=tmp_path, probation_sec=0.1)
    images = peer.publisher(Image, "camera/image_raw", DEEP)
    # Each for longer than the time between two comparisons.
    cameras.append(Camera(images, images=[*17 * [RED], *17 * [GREEN], *17 * [BLUE]]))

    def newest() -> DiagnosticStatus:
        statuses = [message.status[0] for message in diagnostics]
        found = [one for one in statuses if one.name.endswith("fl_perception")]
        return found[-1] if found else DiagnosticStatus()

    wait_until(lambda: values_of(newest()).get("probation") == "passed", "the first model passes")
    # Discovery takes its time: who comes late hears of the newest model alone.
    wait_until(lambda: announced and used, "the first announcement")
    store.use("v00002")
    wait_until(lambda: len(used) == 3, "the swap and the way back")
    paths = [str(folder / "model.tflite") for folder in (good, bad, good)]
    assert [message.data for message in used] == paths
    node.wait_for_output("took v00002 back in the store; v00001 is current")
    hold = store.hold()
    assert hold is not None
    assert (hold.kind, hold.version) == (HoldKind.ROLLED_BACK, "v00002")
    assert "it says 'red' to" in hold.reason
    wait_until(lambda: [message.data for message in announced] == paths, "the announcement")
    count = len(labels)
    wait_until(
        lambda: {message.data for message in labels[count:]} >= {"green", "blue"}, "other labels"
    )
    wait_until(
        lambda: (
            "v00002 failed its probation" in newest().message
            and newest().level == DiagnosticStatus.WARN
        ),
        "the diagnostics say so",
    )
    # A person who chooses it all the same comes to the node's own memory.
    store.use("v00002")
    node.wait_for_output("v00002 failed its probation here")
    assert node.interrupt() == 0
    assert len(used) == 3


def test_signals_end_the_node_once_and_for_all(
    start_node: StartNode, write_version: WriteVersion
) -> None:
    node = start_node("perception", model_path=write_version())
    node.wait_for_output("is in use")
    assert node.interrupt(times=3) == 0
    assert "Traceback" not in node.output


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ({"queue_size": 0}, "queue_size"),
        ({"min_confidence": "high"}, "min_confidence"),
        ({"image_topics": "['']"}, "image_topics"),
        ({"image_topics": "[/a/b, a/b]", "ros_args": ("-r", "__ns:=/r")}, "image_topics"),
    ],
)
def test_an_invalid_setting_ends_the_node_with_one_line(
    start_node: StartNode, parameters: dict[str, object], name: str
) -> None:
    node = start_node("perception", **parameters)
    assert node.wait() == 2
    (line,) = node.output.splitlines()
    assert name in line
    assert "expected" in line
