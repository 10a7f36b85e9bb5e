"""`fl_perception`: runs the fleet's newest model on cameras, and swaps it between two frames."""

from __future__ import annotations

import socket
import sys
import time
from collections import Counter, deque
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from threading import Thread

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.task import Future
from std_msgs.msg import String

from fl_robot_ros.config import PerceptionSettings, expand_path, resolve_data_dir
from fl_robot_ros.delivery.loader import ModelLoader
from fl_robot_ros.delivery.model_access import ModelAccess, is_stored_in
from fl_robot_ros.delivery.model_store import ModelStore
from fl_robot_ros.delivery.predictor import Predictor
from fl_robot_ros.errors import FlRobotError, IdentityError, ModelError, SettingError
from fl_robot_ros.identity.enrolment import Enrolment
from fl_robot_ros.images.frame import Frame
from fl_robot_ros.nodes.annotated_image import AnnotatedImages
from fl_robot_ros.nodes.perception_camera import PerceptionCamera, result_prefixes
from fl_robot_ros.nodes.perception_message import (
    TROUBLE_SEC,
    PerceptionState,
    to_perception_message,
)
from fl_robot_ros.perception.inference import Inference, Result
from fl_robot_ros.perception.meter import Meter
from fl_robot_ros.perception.model_switch import ModelSwitch
from fl_robot_ros.perception.waiting_items import WaitingItems
from fl_robot_ros.ros.command_line import NodeCommand
from fl_robot_ros.ros.lifetime import run_node
from fl_robot_ros.ros.qos import LATCHED, reliable_qos
from fl_robot_ros.ros.settings import declare_settings
from fl_robot_ros.ros.transports import make_room_for_large_images

_DIAGNOSTICS_PERIOD_SEC = 1.0
# Another process that changes the store does not keep this one from ending.
_WITHDRAWAL_TIMEOUT_SEC = 1.0

COMMAND = NodeCommand(
    "fl_perception",
    "Runs the fleet's newest model on cameras, and swaps it between two frames. With several "
    "cameras, each has its topics below fl/perception/ and its own name, as in "
    "fl/perception/front/image_raw/label.",
    PerceptionSettings,
    topics=(
        ("image_topics", "sensor_msgs Image or CompressedImage, in", "The cameras."),
        ("fl/model_path", "std_msgs/String, in, latched", "The model to run, from fl_client."),
        ("fl/perception/label", "std_msgs/String", "The label of each frame that was taken."),
        (
            "fl/perception/result",
            "diagnostic_msgs/DiagnosticArray",
            "In the frame's own header: label, confidence, score of every class, model version; "
            "or why the frame was not classified.",
        ),
        (
            "fl/perception/classification",
            "vision_msgs/Classification",
            "The same scores, where vision_msgs is installed.",
        ),
        ("fl/perception/model_path", "std_msgs/String, latched", "The model that runs."),
        (
            "fl/perception/image",
            "sensor_msgs/Image",
            "The newest frame, small, with its label drawn in, while somebody subscribes.",
        ),
        (
            "/diagnostics",
            "diagnostic_msgs/DiagnosticArray, 1 Hz",
            "Rate, latency and age of results, dropped frames, model, probation.",
        ),
    ),
)


class PerceptionNode(Node):  # type: ignore[misc]
    """Publishes what the model says of cameras; takes models from `fl/model_path`.

    The executor hands the newest frame of each camera to a thread that classifies it. Another
    thread loads models, and they are exchanged between two frames. Where a model cannot be loaded,
    or fails its probation, the old one stays in use.
    """

    def __init__(self) -> None:
        """Declare the parameters, subscribe and load the start-up model.

        Raises:
            SettingError: A parameter is invalid.
        """
        super().__init__("fl_perception")
        self._settings = settings = declare_settings(self, PerceptionSettings)
        enrolment = _read_enrolment(settings.enrolment)
        models_dir = resolve_data_dir(settings.data_dir, self.get_namespace()) / "models"
        own_path = expand_path(settings.model_path) if settings.model_path else None
        self._robot = self.get_namespace().strip("/") or _robot_name(enrolment)
        self._access = ModelAccess(
            models_dir,
            [expand_path(path) for path in settings.allowed_model_dirs],
            own_path,
            enrolment,
        )
        self._store = ModelStore(models_dir)
        # Completed with the exit code when a thread ends with an error.
        self.finished = Future()
        self._counts: Counter[str] = Counter()
        self._past_unclassified: deque[int] = deque([0], maxlen=TROUBLE_SEC)
        self._last_error = ""
        self._failed_load = ""
        self._failed_probation = ""
        self._withdrawals: list[Thread] = []
        self._meter = Meter()
        prefixes = result_prefixes(self, settings.image_topics)
        self._path_publisher = self.create_publisher(String, "fl/perception/model_path", LATCHED)
        self._diagnostics_publisher = self.create_publisher(
            DiagnosticArray, "/diagnostics", reliable_qos(10)
        )
        self._annotated = AnnotatedImages(
            self,
            [f"{prefix}/image" for prefix in prefixes.values()],
            settings.annotated_edge_px,
            self._on_crash,
        )
        self._frames: WaitingItems[Frame] = WaitingItems(len(prefixes), settings.queue_size)
        self._cameras = [
            PerceptionCamera(self, topic, prefix, settings, partial(self._frames.offer, index))
            for index, (topic, prefix) in enumerate(prefixes.items())
        ]
        self._last_rates = time.monotonic(), [0] * len(self._cameras)
        self._switch = ModelSwitch(
            settings.probation_sec, settings.max_latency_ms, self._on_use, self._on_rejected
        )
        self._inference = Inference(self._frames, self._switch, self._on_result, self._on_crash)
        self._loader = ModelLoader(self._load, self._on_loaded, self._on_failed)
        self.create_subscription(String, "fl/model_path", self._on_model_path, LATCHED)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(_DIAGNOSTICS_PERIOD_SEC, self._publish_diagnostics, clock=steady)
        if own_path is not None:
            self._loader.request(str(own_path))
        else:
            self.get_logger().info(f"waiting for a model of {models_dir} on fl/model_path")

    def destroy_node(self) -> None:
        """End the threads and log how many frames were labelled."""
        self._loader.stop()
        self._inference.stop()
        self._annotated.stop()
        for thread in self._withdrawals:
            thread.join(_WITHDRAWAL_TIMEOUT_SEC)
        self.get_logger().info(
            f"labelled {self._counts['labelled']} frames; {self._counts['unclassified']} could "
            f"not be classified, {self._inference.without_model} came before the first model, "
            f"{sum(self._frames.dropped)} were dropped for a newer one"
        )
        super().destroy_node()

    def _on_model_path(self, message: String) -> None:
        self._loader.request(message.data)

    def _load(self, path: str) -> tuple[Predictor, Predictor | None]:
        """Check and load a model; the loader calls this in its thread.

        Returns:
            The model, and for the first one of this process the version before it.

        Raises:
            FlRobotError: The model may not be taken, or cannot be loaded.
        """
        predictor = Predictor(self._access.check(path), self._settings.num_threads)
        self._switch.refuse_rejected(predictor)
        is_first = self._switch.in_use is None and self._settings.probation_sec > 0
        return predictor, self._load_previous(predictor) if is_first else None

    def _load_previous(self, predictor: Predictor) -> Predictor | None:
        """Return the version before a model: its probation may have been cut off by a restart."""
        name, folder = predictor.manifest.previous, predictor.path.parent
        if not name:
            return None
        try:
            place = self._access.check(str(folder.parent / name), may_be_older=True)
            return Predictor(place, self._settings.num_threads)
        except FlRobotError as error:
            self.get_logger().info(f"{name} before it is not there to compare with: {error}")
            return None

    def _on_loaded(self, loaded: tuple[Predictor, Predictor | None]) -> None:
        self._failed_load = ""
        self._switch.offer(*loaded)
        self._frames.wake()

    def _on_failed(self, path: str, error: FlRobotError) -> None:
        in_use = self._switch.in_use
        kept = "no model is in use" if in_use is None else f"{in_use.version} stays in use"
        self._failed_load = f"the model at {path!r} was not taken: {error}"
        self.get_logger().error(f"{self._failed_load}; {kept}")

    def _on_use(self, predictor: Predictor) -> None:
        """Say which model is used from the next frame on; the thread of the inference calls it."""
        if predictor is not self._switch.good:
            self._failed_probation = ""
        self._path_publisher.publish(String(data=str(predictor.path)))
        self.get_logger().info(
            f"model {predictor.version} is in use "
            f"({len(predictor.classes)} classes, {predictor.path})"
        )

    def _on_rejected(self, predictor: Predictor, reason: str) -> None:
        """Say that a model failed its probation, and take it back in the store."""
        good = self._switch.good
        back = f"back to {good.version}" if good is not None else "there is no model to go back to"
        self._failed_probation = f"{predictor.version} failed its probation: {reason}; {back}"
        self.get_logger().error(self._failed_probation)
        folder = predictor.path.parent
        thread = Thread(target=self._withdraw, args=(folder, reason), name="withdraw", daemon=True)
        self._withdrawals.append(thread)
        thread.start()

    def _withdraw(self, folder: Path, reason: str) -> None:
        """Take a version back in the store, so that it does not return after a restart."""
        if not is_stored_in(self._store, folder):
            return
        try:
            current = self._store.withdraw(folder.name, f"failed its probation: {reason}")
        except ModelError as error:
            self.get_logger().error(f"{folder.name} was not taken back in the store: {error}")
        else:
            name = current.name if current is not None else "none"
            self.get_logger().warning(f"took {folder.name} back in the store; {name} is current")

    def _on_result(self, camera: int, result: Result) -> None:
        """Publish a result; the thread of the inference calls it."""
        result = self._cameras[camera].publish(result)
        age_sec = (time.time_ns() - result.frame.published_ns) / 1e9
        if result.prediction is not None:
            self._counts["labelled"] += 1
            self._meter.add(result.latency_sec, age_sec)
            self._annotated.offer(camera, result)
            return
        self._counts["unclassified"] += 1
        if result.error != self._last_error:  # A camera repeats its error 30 times a second.
            self._last_error = result.error
            self.get_logger().error(
                f"a frame of {result.frame.topic} was not classified: {result.error}"
            )

    def _on_crash(self, error: Exception) -> None:
        """End the node; a thread that ended with an error of this program calls it."""
        self.get_logger().fatal(f"a thread ended: {type(error).__name__}: {error}")
        if not self.finished.done():
            self.finished.set_result(1)

    def _publish_diagnostics(self) -> None:
        """Publish the diagnostics, once a second."""
        cameras = [camera.subscription for camera in self._cameras]
        now, frames = time.monotonic(), [camera.frames for camera in cameras]
        before, frames_before = self._last_rates
        self._last_rates = now, frames
        elapsed_sec = max(now - before, 1e-3)
        unclassified = self._counts["unclassified"]
        recently_unclassified = unclassified - self._past_unclassified[0]
        self._past_unclassified.append(unclassified)
        in_use = self._switch.in_use
        state = PerceptionState(
            reading=self._meter.read(),
            rates_hz={
                camera.topic: (count - count_before) / elapsed_sec
                for camera, count, count_before in zip(cameras, frames, frames_before, strict=True)
            },
            dropped={
                camera.topic: count
                for camera, count in zip(cameras, self._frames.dropped, strict=True)
            },
            silent_topics=[camera.topic for camera in cameras if camera.is_silent],
            counts={
                "labelled": self._counts["labelled"],
                "unclassified": unclassified,
                "without_model": self._inference.without_model,
            },
            recently_unclassified=recently_unclassified,
            version=in_use.version if in_use is not None else "",
            probation=self._probation_state(),
            trouble=[text for text in (self._failed_load, self._failed_probation) if text],
            last_error=self._last_error,
        )
        message = DiagnosticArray()
        message.header.stamp = self.get_clock().now().to_msg()
        message.status = [to_perception_message(self._robot, state)]
        self._diagnostics_publisher.publish(message)

    def _probation_state(self) -> str:
        """Return the state of the probation of the model in use, "" without one."""
        if self._switch.in_use is None:
            return ""
        if not self._settings.probation_sec:
            return "off"
        if self._switch.is_on_probation:
            return "running"
        return "passed" if self._switch.in_use is self._switch.good else "failed"


def _read_enrolment(path: str) -> Enrolment | None:
    """Return the enrolment that the setting names, None for none.

    Raises:
        SettingError: It cannot be used.
    """
    if not path:
        return None
    try:
        return Enrolment.load(expand_path(path))
    except IdentityError as error:
        raise SettingError(str(error)) from error


def _robot_name(enrolment: Enrolment | None) -> str:
    return enrolment.robot if enrolment is not None else socket.gethostname() or "robot"


def main(args: Sequence[str] | None = None) -> int:
    """Run the node; return the process's exit code."""
    make_room_for_large_images()
    return run_node(COMMAND, PerceptionNode, args)


if __name__ == "__main__":
    sys.exit(main())
