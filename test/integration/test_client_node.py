"""`fl_client` over real DDS, with real bags, a real server and a real worker."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from bare_python import BarePython
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from fleet import CLASSES, free_port, make_image, server
from needed_packages import learns
from numpy.typing import NDArray
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_process import NodeProcess, Peer, StartNode
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Bool, String
from std_srvs.srv import SetBool, Trigger
from waiting import wait_until

from fl_robot_ros.dataset.dataset import Dataset
from fl_robot_ros.dataset.sample import Sample
from fl_robot_ros.dataset.snapshot import load_snapshot
from fl_robot_ros.delivery.manifest import Manifest
from fl_robot_ros.delivery.model_store import ModelStore
from fl_robot_ros.delivery.predictor import Predictor
from fl_robot_ros.demo.recording import record_bag
from fl_robot_ros.ros.image_message import to_compressed_message, to_image_message
from fl_robot_ros.ros.qos import LATCHED, reliable_qos

RUN_TIMEOUT_SEC = 240.0


def image_of(label: str, seed: int = 0) -> NDArray[np.uint8]:
    decoded = cv2.imdecode(np.frombuffer(make_image(label, seed), np.uint8), cv2.IMREAD_COLOR)
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def frames(count: int, labels: tuple[str, ...] = ("red", "green", "blue")) -> Iterator[Any]:
    """Yield signs of 6 frames each, with two unlabelled frames between them."""
    for index in range(count):
        label = labels[(index // 6) % len(labels)]
        yield image_of(label, index), label
        if index % 6 == 5:
            for gap in range(2):
                yield image_of("", gap), ""


class Robot:
    """What a test sees of one `fl_client`."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self.statuses: list[DiagnosticStatus] = peer.record(DiagnosticStatus, "fl/status", LATCHED)
        self.paths: list[String] = peer.record(String, "fl/model_path", LATCHED)
        self.diagnostics: list[DiagnosticArray] = peer.record(
            DiagnosticArray, "/diagnostics", reliable_qos(50)
        )

    def call(self, service: str, request: Any = None, kind: Any = Trigger) -> Any:
        client = self._peer.node.create_client(kind, service)
        assert client.wait_for_service(30.0)
        future = client.call_async(request or kind.Request())
        wait_until(future.done, f"the answer of {service}")
        self._peer.node.destroy_client(client)
        return future.result()

    @property
    def state(self) -> str:
        return str(self.statuses[-1].message) if self.statuses else ""

    def value(self, key: str) -> str:
        return next(item.value for item in self.statuses[-1].values if item.key == key)

    @property
    def hold(self) -> str:
        return {item.key: item.value for item in self.statuses[-1].values}.get("hold", "")

    def part(self, name: str) -> dict[str, str]:
        """Return the newest diagnostics of a part: capture, dataset or worker."""
        if not self.diagnostics:
            return {}
        status = next(s for s in self.diagnostics[-1].status if s.name.endswith(name))
        return {"": status.message, **{item.key: item.value for item in status.values}}

    def has_kept(self, count: int) -> bool:
        return self.part("capture").get("kept") == str(count)


@pytest.fixture
def robot(peer: Peer) -> Robot:
    return Robot(peer)


def start_client(start_node: StartNode, tmp_path: Path, **parameters: Any) -> NodeProcess:
    values = {
        "data_dir": tmp_path / "robot",
        "robot_name": "tester",
        "sample_rate_hz": 1000.0,
        "label_settle_sec": 0.5,
        "segment_sec": 1.0,
        **parameters,
    }
    return start_node("client", **values)


def test_frames_and_labels_become_a_dataset_and_capture_can_be_paused(
    start_node: StartNode, robot: Robot, peer: Peer, tmp_path: Path
) -> None:
    node = start_client(start_node, tmp_path, image_topics="[camera/raw, camera/jpeg]")
    raw = peer.publisher(Image, "camera/raw", reliable_qos(50))
    jpeg = peer.publisher(CompressedImage, "camera/jpeg", reliable_qos(50))
    label = peer.publisher(String, "fl/label", reliable_qos(50))
    wait_until(
        lambda: all(p.get_subscription_count() for p in (raw, jpeg, label)), "subscriptions"
    )
    stamp_ns = 10**18
    for text, count in (("red", 4), ("", 3), ("green", 5), ("bad\nlabel", 1), ("blue", 2)):
        label.publish(String(data=text))
        for index in range(count):
            stamp_ns += 10**8
            image = image_of(text, index)
            raw.publish(to_image_message(image, stamp_ns))
            jpeg.publish(to_compressed_message(image, stamp_ns, jpeg_quality=90))
    # A label that is none leaves "green" in place.
    wait_until(lambda: robot.has_kept(24), "24 frames kept")
    capture = robot.part("capture")
    assert capture["review"] == "6"
    assert capture["bad_label"] == "1"
    assert capture[""].startswith("capturing")
    dataset = robot.part("dataset")
    assert {k: v for k, v in dataset.items() if k.startswith("label ")} == {
        "label red": "8",
        "label green": "12",
        "label blue": "4",
    }

    assert robot.call("fl/set_capture", SetBool.Request(data=False), SetBool).success
    raw.publish(to_image_message(image_of("red"), stamp_ns + 10**9))
    wait_until(lambda: robot.part("capture").get("paused") == "1", "a paused frame")
    assert robot.call("fl/set_capture", SetBool.Request(data=True), SetBool).success
    raw.publish(to_image_message(image_of("red"), stamp_ns + 2 * 10**9))
    wait_until(lambda: robot.has_kept(25), "a frame after the pause")

    refused = robot.call("fl/cancel_round")
    assert not refused.success
    assert "no run to leave" in refused.message
    refused = robot.call("fl/rollback_model")
    assert not refused.success
    assert node.interrupt(times=2) == 0
    with Dataset(tmp_path / "robot" / "dataset") as stored:
        assert len(stored) == 25
        for sample in stored.samples():
            assert cv2.imread(str(stored.path / sample.path)) is not None


def test_a_camera_that_sends_more_than_is_kept_is_named(
    start_node: StartNode, peer: Peer, tmp_path: Path
) -> None:
    node = start_client(start_node, tmp_path, image_topics="[camera]", sample_rate_hz=1.0)
    camera = peer.publisher(Image, "camera", reliable_qos(50))
    wait_until(camera.get_subscription_count, "the subscription")
    stamps_ns = iter(range(10**18, 2 * 10**18, 10**8))

    def is_told() -> bool:
        camera.publish(to_image_message(image_of("red"), next(stamps_ns)))
        return "frames a second; sample_rate_hz keeps 1 of them" in node.output

    wait_until(is_told, "a line about the rate")
    assert "/camera sends " in node.output


def has_shape(path: Path, shape: tuple[int, ...]) -> bool:
    """Say whether a file is an image of a shape; one that is just being moved is none."""
    stored = cv2.imread(str(path))
    return stored is not None and stored.shape == shape


def test_a_simulated_camera_that_comes_again_as_another(
    start_node: StartNode, robot: Robot, peer: Peer, tmp_path: Path
) -> None:
    """ROS time stands still; stamps begin anew or are 0; reliability and size change."""
    start_client(
        start_node,
        tmp_path,
        use_sim_time=True,
        image_topics="[camera]",
        topic_labels="['camera: red']",
    )
    wait_until(lambda: robot.part("dataset"), "the dataset")
    first_stamps_sec = []
    with Dataset(tmp_path / "robot" / "dataset") as dataset:
        for reliability, side_px, begin_sec in (
            (ReliabilityPolicy.BEST_EFFORT, 16, 1000),
            (ReliabilityPolicy.RELIABLE, 32, 2),
            (ReliabilityPolicy.BEST_EFFORT, 48, None),
        ):
            qos = QoSProfile(depth=9, reliability=reliability)
            camera = peer.publisher(Image, "camera", qos)
            image = np.full((side_px, side_px, 3), 90, np.uint8)
            stored: list[Sample] = []
            for number in range(3000):
                stamp_sec = 0 if begin_sec is None else begin_sec + number
                camera.publish(to_image_message(image, stamp_sec * 10**9))
                time.sleep(0.02)
                stored = [
                    sample
                    for sample in dataset.samples()
                    if has_shape(dataset.path / sample.path, image.shape)
                ]
                if stored:
                    break
            assert stored, f"no frame of {side_px} px"
            first_stamps_sec.append(stored[0].stamp_ns / 1e9)
            peer.node.destroy_publisher(camera)
    simulated, anew, unstamped = first_stamps_sec
    assert 1000 <= simulated < 4000
    assert 2 <= anew < 1000
    assert abs(unstamped - time.time()) < 600


@learns
def test_too_few_images_and_an_absent_server_are_refused_with_a_reason(
    start_node: StartNode, robot: Robot, tmp_path: Path
) -> None:
    bag = tmp_path / "bag"
    record_bag(bag, frames(12), compressed=True, start_ns=10**18)
    port = free_port()
    node = start_client(
        start_node,
        tmp_path,
        min_samples=13,
        holdout_fraction=0.1,
        split_gap_sec=0.12,
        server_address=f"127.0.0.1:{port}",
        connect_timeout_sec=1.0,
        bag_paths=f"[{bag}]",
    )
    wait_until(lambda: robot.has_kept(12), "the bag's frames")
    refused = robot.call("fl/start_round")
    assert not refused.success
    assert "12 labelled images; min_samples asks for at least 13" in refused.message
    wait_until(lambda: robot.state == "idle", "the state after the refusal")

    more = tmp_path / "more"
    record_bag(more, frames(12), compressed=False, start_ns=2 * 10**18)
    value = ParameterValue(
        type=ParameterType.PARAMETER_STRING_ARRAY, string_array_value=[str(more)]
    )
    absent = ParameterValue(
        type=ParameterType.PARAMETER_STRING_ARRAY,
        string_array_value=[str(more), str(tmp_path / "absent")],
    )
    for paths, reason in ((absent, f"there is no bag {tmp_path / 'absent'}"), (value, "")):
        parameter = ParameterMessage(name="bag_paths", value=paths)
        request = SetParameters.Request(parameters=[parameter])
        answer = robot.call("fl_client/set_parameters", request, SetParameters)
        assert answer.results[0].successful == (paths is value)
        assert answer.results[0].reason == reason
    wait_until(lambda: robot.has_kept(24), "the second bag's frames")

    accepted = robot.call("fl/start_round")
    assert accepted.success
    [path] = (tmp_path / "robot" / "snapshots").glob("*.json")
    snapshot = load_snapshot(path)
    train, holdout, left_out = len(snapshot.train), len(snapshot.holdout), snapshot.left_out
    assert train + holdout + left_out == 24
    assert left_out
    assert accepted.message == (
        f"run started with 24 images of 2 labels: {train} to train on, {holdout} held out, "
        f"{left_out} left out (nearer than split_gap_sec, 0.12 s, to one held out); 8 more wait "
        f"for a label; server 127.0.0.1:{port}"
    )
    wait_until(lambda: robot.state == "failed", "the failure")
    assert f"no server at 127.0.0.1:{port} after 1 s" in robot.value("detail")
    assert robot.part("capture")[""].startswith("capturing")
    # The node lives on and may try again.
    wait_until(lambda: not robot.part("worker")["pid"], "the worker's end")
    assert robot.call("fl/start_round").success
    assert node.interrupt() == 0


@learns
def test_another_source_needs_no_images_and_takes_no_snapshot(
    start_node: StartNode, robot: Robot, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    (images / "red").mkdir(parents=True)
    port = free_port()
    node = start_client(
        start_node,
        tmp_path,
        dataset_source=f"folder:{images}",
        server_address=f"127.0.0.1:{port}",
        connect_timeout_sec=1.0,
    )
    wait_until(lambda: robot.state == "idle", "the node")
    accepted = robot.call("fl/start_round")
    assert accepted.success
    assert f"run started with folder:{images}; server 127.0.0.1:{port}" in accepted.message
    wait_until(lambda: robot.state == "failed", "the failure")
    assert f"no server at 127.0.0.1:{port} after 1 s" in robot.value("detail")
    assert not (tmp_path / "robot" / "snapshots").exists()
    assert node.interrupt() == 0


@learns
def test_a_python_that_cannot_run_a_worker_is_named_at_the_start_and_refused(
    start_node: StartNode, robot: Robot, tmp_path: Path
) -> None:
    (tmp_path / "images" / "red").mkdir(parents=True)
    bare = BarePython(tmp_path / "venv")
    node = start_client(
        start_node,
        tmp_path,
        worker_python=str(bare.path),
        dataset_source=f"folder:{tmp_path / 'images'}",
        server_address=f"127.0.0.1:{free_port()}",
        connect_timeout_sec=1.0,
    )
    node.wait_for_output("no worker can run, so this robot cannot learn yet: worker_python")
    refused = robot.call("fl/start_round")
    assert not refused.success
    assert f"worker_python {bare.path}, Python 3.1" in refused.message
    assert " lacks flwr, tensorflow, keras, ai-edge-litert, numpy, opencv" in refused.message
    assert f"; install with: {bare.path} -m pip install 'flwr>=" in refused.message
    assert "\n" not in refused.message
    wait_until(lambda: robot.state == "idle", "the state after the refusal")
    # Once it is installed, the same node learns.
    bare.take_all()
    assert robot.call("fl/start_round").success
    wait_until(lambda: robot.state == "failed", "the failure")
    assert "no server at " in robot.value("detail")
    assert node.interrupt() == 0


def test_certificates_that_are_not_there_end_the_node(
    start_node: StartNode, tmp_path: Path
) -> None:
    node = start_client(start_node, tmp_path, root_certificates=tmp_path / "absent.pem")
    assert node.wait() == 2
    assert "absent.pem cannot be read: No such file or directory" in node.output
    assert "Traceback" not in node.output


def test_a_truncated_bag_gives_what_is_readable_and_says_what_was_lost(
    start_node: StartNode, robot: Robot, tmp_path: Path
) -> None:
    bag = tmp_path / "bag"
    record_bag(bag, frames(60), compressed=True, start_ns=10**18)
    storage = next(bag.glob("*.mcap"))
    storage.write_bytes(storage.read_bytes()[: storage.stat().st_size * 2 // 3])
    node = start_client(start_node, tmp_path, bag_paths=f"[{bag}, {tmp_path / 'absent'}]")
    wait_until(lambda: robot.part("capture").get("bags_pending") == "0", "the end of the bags")
    kept = int(robot.part("capture")["kept"])
    assert 10 <= kept < 60
    assert "lost: " in node.output
    assert "of the 80 images that it promises were readable" in node.output
    assert "absent" in node.output
    assert node.interrupt() == 0


@learns
def test_a_run_from_bag_to_model_path_with_a_pause_and_a_worker_killed_on_the_way(
    start_node: StartNode, robot: Robot, peer: Peer, tmp_path: Path
) -> None:
    bag = tmp_path / "bag"
    record_bag(bag, frames(60), compressed=True, start_ns=10**18)
    port = free_port()
    parameters: dict[str, Any] = {
        "bag_paths": f"[{bag}]",
        "server_address": f"127.0.0.1:{port}",
        "connect_timeout_sec": 600.0,
        "publish_if": "always",
        "learn_while": "[topic fl/may_learn]",
        "worker_keep_warm_sec": 3600.0,
    }
    permission = peer.publisher(Bool, "fl/may_learn", LATCHED)
    permission.publish(Bool(data=True))
    node = start_client(start_node, tmp_path, **parameters)
    wait_until(lambda: robot.has_kept(60), "the bag's frames")
    wait_until(lambda: "learn is off" in robot.value("why"), "the permission")
    assert robot.call("fl/start_round").success
    refused = robot.call("fl/start_round")
    assert not refused.success
    assert "a run is on already: connecting" in refused.message

    wait_until(lambda: robot.part("worker")["pid"], "the worker's number")
    os.kill(int(robot.part("worker")["pid"]), signal.SIGKILL)
    wait_until(lambda: robot.state == "failed", "the failure")
    assert "killed by SIGKILL" in robot.value("detail")
    camera = peer.publisher(Image, "camera/image_raw", reliable_qos(50))
    label = peer.publisher(String, "fl/label", reliable_qos(50))
    wait_until(lambda: camera.get_subscription_count() and label.get_subscription_count(), "DDS")
    label.publish(String(data="red"))
    camera.publish(to_image_message(image_of("red"), 3 * 10**18))
    wait_until(lambda: robot.has_kept(61), "capture goes on")
    with server(tmp_path / "state", port, min_nodes=1, num_rounds=1, continuous=True) as fl_server:
        paths: list[str] = []
        pids: list[str] = []
        for run in (1, 2):
            started = robot.call("fl/start_round")
            assert started.success
            if run == 1:
                permission.publish(Bool(data=False))
                reason = "fl/may_learn is false, needs topic fl/may_learn"
                wait_until(lambda: robot.state == "paused", "the pause")
                assert (robot.value("why"), robot.value("detail")) == (f"paused: {reason}", reason)
                permission.publish(Bool(data=True))
            wait_until(
                lambda count=run: len(robot.paths) == count,  # type: ignore[misc]
                "a model path",
                RUN_TIMEOUT_SEC,
            )
            wait_until(lambda: robot.state == "idle", "the end of the run", 60.0)
            # The worker found what the service promised.
            train, holdout = re.findall(r"(\d+) to train on, (\d+) held out", started.message)[0]
            assert robot.value("data") == f"{train} images to train on, {holdout} held out"
            version = ModelStore(tmp_path / "robot" / "models", 5).current()
            assert version is not None
            manifest = Manifest.load(version)
            assert (manifest.run, manifest.round) == (run, run), fl_server.text
            paths.append(str(version / "model.keras"))
            assert robot.paths[-1].data == paths[-1]
            assert robot.value("model_version") == version.name
            assert Predictor(paths[-1]).predict(image_of("blue", 7)).label in CLASSES
            wait_until(lambda: robot.part("worker")["silent_sec"] == "", "the diagnostics")
            pids.append(robot.part("worker")["pid"])
        # One process did both runs; that it dies while it waits is no run's end.
        assert pids[0] == pids[1] != ""
        os.kill(int(pids[1]), signal.SIGKILL)
        wait_until(lambda: robot.part("worker")["pid"] == "", "the worker's end")
        assert robot.state == "idle"
        assert fl_server.stop(signal.SIGINT) == 130
    assert paths[0] != paths[1]
    shapes = json.loads((tmp_path / "robot" / "learning.json").read_text())["runs_by_week"]
    assert [list(counts) for counts in shapes.values()] == [["!", "~-v[]+^", "-v[]+^"]]

    rolled_back = robot.call("fl/rollback_model")
    assert rolled_back.success
    wait_until(lambda: robot.paths[-1].data == paths[0], "the first model's path")
    assert "'fl_model use v00002' goes forward again" in rolled_back.message
    words = "v00002 was rolled back: fl/rollback_model was called"
    wait_until(lambda: robot.hold == words, "the hold")
    assert not robot.call("fl/rollback_model").success
    # What others change is announced too.
    store = ModelStore(tmp_path / "robot" / "models")
    store.use("v00002")
    wait_until(lambda: robot.paths[-1].data == paths[1], "the second model's path again")
    wait_until(lambda: not robot.hold, "the end of the hold")
    store.withdraw("v00002", "all of one class")
    wait_until(lambda: robot.paths[-1].data == paths[0], "the first model's path again")
    wait_until(lambda: robot.hold.endswith("all of one class"), "the next hold")
    assert node.interrupt() == 0

    # After a restart the path is announced again, to whoever asks late.
    store.use("v00001")
    parameters |= {"learn": "auto", "learn_when": "[new_samples <= 1000, hours_since_run >= 0]"}
    # Under another name it was not in the last run, and knows what kept it from learning then.
    parameters |= {"robot_name": "stranger"}
    journal = json.loads((tmp_path / "robot" / "learning.json").read_text())
    before = {"reason": "battery 0.31, needs >= 0.4", "since": 1.7e9, "until": time.time() - 1.0}
    journal["hindrances"].append(before)
    (tmp_path / "robot" / "learning.json").write_text(json.dumps(journal))
    with server(
        tmp_path / "state", port, min_nodes=1, num_rounds=1, schedule=["*/5 * * * * *"]
    ) as fl_server:
        restarted = start_client(start_node, tmp_path, **parameters)
        late = peer.record(String, "fl/model_path", LATCHED)
        wait_until(lambda: late and late[-1].data == paths[0], "the path again")
        # Nobody calls it, and it learns when the server says.
        wait_until(lambda: "v00003" in late[-1].data, "the third model", RUN_TIMEOUT_SEC)
        restarted.wait_for_output("the server has no run now; next try by itself at ")
        assert "learning: the rules hold" in restarted.output
        assert "stranger was not in run 2: battery 0.31, needs >= 0.4 (" in fl_server.text
        # Each thing is said once.
        assert restarted.output.count("idle, the run is finished") == 1
        assert "waiting, round" not in restarted.output
        assert restarted.interrupt() == 0
        assert fl_server.stop(signal.SIGINT) == 130


def test_a_second_node_on_the_same_data_is_refused(start_node: StartNode, tmp_path: Path) -> None:
    first = start_client(start_node, tmp_path)
    first.wait_for_output("images in")
    second = start_client(start_node, tmp_path)
    assert second.wait() == 2
    assert "is used by another fl_client" in second.output
    assert first.interrupt() == 0


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"sample_rate_hz": -1.0}, "sample_rate_hz is -1.0; expected 0.001 to 1000"),
        ({"published_file": "model.onnx"}, "published_file is 'model.onnx'"),
        ({"server_address": "nowhere"}, "server address is 'nowhere'"),
        ({"server_address": "192.0.2.1:8000"}, "there is no TLS: set enrolment to the file"),
        ({"enrolment": "absent.json"}, "absent.json cannot be read: No such file"),
        ({"image_topics": "[camera/image-raw]"}, "topic name 'camera/image-raw' is invalid"),
        ({"dataset_source": "zip:/x"}, "dataset_source is 'zip:/x'; expected 'capture'"),
        ({"worker_python": "~/none/bin/python"}, "worker_python is '~/none/bin/python', which is"),
    ],
)
def test_a_wrong_setting_ends_the_node_with_one_line(
    start_node: StartNode, tmp_path: Path, parameters: dict[str, Any], message: str
) -> None:
    node = start_client(start_node, tmp_path, **parameters)
    assert node.wait() == 2
    assert message in node.output
    assert "Traceback" not in node.output


def test_an_idle_node_loads_neither_tensorflow_nor_flower(
    start_node: StartNode, robot: Robot, tmp_path: Path
) -> None:
    node = start_client(start_node, tmp_path)
    wait_until(lambda: robot.diagnostics, "diagnostics")
    maps = Path(f"/proc/{node.process.pid}/maps").read_text()
    assert "rclpy" in maps
    assert "tensorflow" not in maps
    status = Path(f"/proc/{node.process.pid}/status").read_text()
    resident_kb = int(status.split("VmRSS:")[1].split()[0])
    assert resident_kb < 150_000
    assert node.interrupt() == 0


@pytest.mark.parametrize("compressed", [False, True])
def test_a_bag_read_in_and_the_same_bag_played_give_the_same_samples(
    start_node: StartNode, tmp_path: Path, compressed: bool
) -> None:
    bag = tmp_path / "bag"
    record_bag(bag, frames(60), compressed=compressed, start_ns=10**18)
    start_client(start_node, tmp_path / "read", bag_paths=f"[{bag}]")
    namespace = ("-r", "__ns:=/played")
    options = {"label_settle_sec": 4.0, "sample_rate_hz": 1000.0}
    start_node("client", namespace, data_dir=tmp_path / "played" / "robot", **options)
    streamer = start_node("streamer", namespace, source=bag, wait_for_subscriber_sec=30.0)
    assert streamer.wait(60.0) == 0

    def samples(name: str) -> set[tuple[int, str, str]]:
        with Dataset(tmp_path / name / "robot" / "dataset") as dataset:
            everything = dataset.samples() + dataset.unlabelled()
            return {(item.stamp_ns, item.label, item.sha256) for item in everything}

    wait_until(lambda: len(samples("read")) == 80, "every frame of the bag")
    wait_until(lambda: len(samples("played")) == 80, "every frame of the topic")
    assert samples("played") == samples("read")
