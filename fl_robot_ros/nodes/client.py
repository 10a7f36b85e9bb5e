"""`fl_client`: a robot's node. It captures, answers services and hands learning to a worker."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.msg import SetParametersResult
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.task import Future
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger

from fl_robot_ros.autonomy.autopilot import Autopilot
from fl_robot_ros.autonomy.journal import Journal
from fl_robot_ros.autonomy.rules import LearningRules
from fl_robot_ros.capture.bag_queue import BagImporter
from fl_robot_ros.capture.camera_settings import unused_names
from fl_robot_ros.capture.pipeline import CapturePipeline
from fl_robot_ros.capture.verdicts import Verdict
from fl_robot_ros.config import (
    ClientSettings,
    expand_path,
    resolve_data_dir,
)
from fl_robot_ros.data_source import DataSource
from fl_robot_ros.dataset.dataset import Dataset
from fl_robot_ros.dataset.retention import Limits
from fl_robot_ros.delivery.manifest import TFLITE_FILE
from fl_robot_ros.delivery.model_store import ModelStore
from fl_robot_ros.errors import DatasetError, FlRobotError, SettingError
from fl_robot_ros.identity.membership import Membership
from fl_robot_ros.labels.label_text import MAX_LABEL_CHARACTERS
from fl_robot_ros.name_list import name_list
from fl_robot_ros.nodes.robot_signals import RobotSignals
from fl_robot_ros.nodes.status_message import (
    TROUBLE_SEC,
    to_capture_message,
    to_dataset_error_message,
    to_dataset_message,
    to_rules_message,
    to_status_message,
    to_worker_message,
)
from fl_robot_ros.process_lock import ProcessLock
from fl_robot_ros.robot.run_control import RunControl
from fl_robot_ros.robot.worker_python import WorkerPython
from fl_robot_ros.robot.workers import Workers
from fl_robot_ros.ros.camera_subscription import CameraSubscription
from fl_robot_ros.ros.command_line import NodeCommand
from fl_robot_ros.ros.label_subscription import LabelSubscription
from fl_robot_ros.ros.lifetime import run_node
from fl_robot_ros.ros.logging_bridge import LoggingBridge
from fl_robot_ros.ros.qos import LATCHED, reliable_qos
from fl_robot_ros.ros.settings import declare_settings
from fl_robot_ros.ros.topic_names import names_by_topic
from fl_robot_ros.worker_link.run_status import RunState, RunStatus

_DIAGNOSTICS_PERIOD_SEC = 1.0
_RULES_PERIOD_SEC = 0.25
# Messages that may wait in the middleware while a callback runs.
_CAMERA_DEPTH = 30
_LABEL_DEPTH = 100
_BYTES_PER_MB = 1_000_000
_BY_SERVICE = "fl/rollback_model was called"
_BETWEEN_ROUNDS = (RunState.WAITING, RunState.EVALUATING)
# Ratio of a camera's rate to the kept rate above which the rate is reported, and not jitter.
_PASSED_OVER = 1.5

COMMAND = NodeCommand(
    "fl_client",
    "Turns camera frames and labels into a dataset on this robot and, when fl/start_round is "
    "called, learns from it in a run of the fleet.",
    ClientSettings,
    topics=(
        ("image_topics", "sensor_msgs Image or CompressedImage, in", "The cameras."),
        ("fl/label", "std_msgs/String, in", "The label that holds from now on; empty: none."),
        ("fl/model_path", "std_msgs/String, latched", "File of the current model."),
        (
            "fl/status",
            "diagnostic_msgs/DiagnosticStatus, latched",
            "State, round, loss, accuracy, model version, what holds that, and why the robot "
            "does not learn.",
        ),
        (
            "/diagnostics",
            "diagnostic_msgs/DiagnosticArray, 1 Hz",
            "Frames by verdict, images per label, disk, worker, rules.",
        ),
    ),
    services=(
        ("fl/start_round", "std_srvs/Trigger", "Take part in the server's next run."),
        ("fl/cancel_round", "std_srvs/Trigger", "Leave the run."),
        ("fl/set_capture", "std_srvs/SetBool", "Pause and resume the capture."),
        ("fl/rollback_model", "std_srvs/Trigger", "Take the current model version back."),
    ),
)


class ClientNode(Node):  # type: ignore[misc]
    """Subscribes to cameras and labels, and offers the services and topics of a robot."""

    def __init__(self) -> None:
        """Open the dataset and the model store, and begin to capture.

        Raises:
            SettingError: A parameter is invalid, or another node uses the data folder.
            DatasetError: The dataset cannot be opened.
        """
        super().__init__("fl_client")
        self._settings = settings = declare_settings(
            self, ClientSettings, changeable=("bag_paths",)
        )
        membership = Membership.from_settings(settings, os.environ)
        self._robot = membership.robot or self.get_namespace().strip("/") or _host_name()
        address = membership.server_address
        for warning in membership.warnings:
            self.get_logger().warning(warning)
        self._source = source = DataSource.from_settings(settings)
        rules = LearningRules.from_settings(settings)
        worker_python = WorkerPython(settings.worker_python, source.kind)
        other_names = names_by_topic(self, settings.image_topics)
        data_dir = resolve_data_dir(settings.data_dir, self.get_namespace())
        self._lock = _lock(data_dir)
        self._log_bridge = LoggingBridge(self)
        known_names = [*other_names, *chain.from_iterable(other_names.values())]
        for line in unused_names(settings, known_names):
            self.get_logger().warning(line)
        self._dataset = Dataset(
            data_dir / "dataset",
            Limits(
                samples_per_label=settings.max_samples_per_label,
                unlabelled=settings.review_pool_size,
                total_bytes=settings.max_dataset_mb * _BYTES_PER_MB,
            ),
        )
        self._store = ModelStore(data_dir / "models", settings.keep_versions)
        for line in self._store.repair():
            self.get_logger().warning(line)
        self._pipeline = CapturePipeline(self._dataset, settings, other_names)
        self._run = RunControl(
            self._dataset,
            settings,
            source,
            worker_python,
            Workers(worker_python.path, data_dir, settings.worker_keep_warm_sec),
            data_dir,
            self._robot,
            address,
            self._on_run_change,
        )
        self._journal = Journal(data_dir / "learning.json")
        self._signals = RobotSignals(
            self,
            (*rules.to_begin, *rules.to_go_on),
            settings,
            self._dataset,
            data_dir,
            finished_run=lambda: self._journal.finished,
            worker_pid=lambda: self._run.worker_pid,
            on_change=lambda: self._autopilot.step(),
        )
        self._autopilot = Autopilot(
            settings, rules, self._signals.read, self._run, self._journal, self._on_verdict
        )
        self._run_changed = self.create_guard_condition(self._take_run_change)
        self._published_model: tuple[Path | None, str] = (None, "")
        self._published_path = ""
        self._published_state = ""
        self._path_publisher = self.create_publisher(String, "fl/model_path", LATCHED)
        self._status_publisher = self.create_publisher(DiagnosticStatus, "fl/status", LATCHED)
        self._diagnostics_publisher = self.create_publisher(
            DiagnosticArray, "/diagnostics", reliable_qos(10)
        )
        # A bag may have been recorded under the names before or after a remapping.
        self._bags = BagImporter(self._pipeline, [*settings.image_topics, *other_names])
        self._bags.add(settings.bag_paths)
        self._bag_paths = self.get_parameter("bag_paths")
        self._bag_paths_set = self.create_guard_condition(self._read_set_bags)
        self._labels = LabelSubscription(
            self, "fl/label", self._pipeline.offer_label, _LABEL_DEPTH
        )
        # One for each full name: "camera" and "/camera" may mean one camera.
        self._cameras = [
            CameraSubscription(self, names[0], self._pipeline.offer_frame, _CAMERA_DEPTH)
            for names in other_names.values()
        ]
        self._told_rates: set[str] = set()
        self._last_rates: tuple[float, Counter[str]] = (time.monotonic(), Counter())
        # The verdicts of the last diagnostics, the oldest first.
        self._past_verdicts: deque[Counter[str]] = deque(maxlen=TROUBLE_SEC)
        self.create_service(
            Trigger,
            "fl/start_round",
            self._start_round,
            # A group of its own: frames go on while the service waits for the snapshot.
            callback_group=ReentrantCallbackGroup(),
        )
        self.create_service(Trigger, "fl/cancel_round", self._cancel_round)
        self.create_service(SetBool, "fl/set_capture", self._set_capture)
        self.create_service(Trigger, "fl/rollback_model", self._rollback_model)
        self.add_on_set_parameters_callback(self._on_parameters)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(_DIAGNOSTICS_PERIOD_SEC, self._publish_diagnostics, clock=steady)
        if rules != LearningRules():
            self.create_timer(_RULES_PERIOD_SEC, self._look_at_rules, clock=steady)
        worker_python.check_in_background()
        self.get_logger().info(
            f"robot {self._robot}: {len(self._dataset)} images in {data_dir}, server {address}, "
            f"cameras {name_list(camera.topic for camera in self._cameras) or 'none'}, "
            f"labels {self._labels.topic}"
        )
        self._publish_state()

    def destroy_node(self) -> None:
        """Leave the run, store waiting frames and close the files."""
        self._run.stop()
        self._autopilot.follow_run()
        self._journal.save(at_once=True)
        self._pipeline.stop()
        self._bags.stop()
        self._publish_state()
        self._dataset.close()
        self._log_bridge.close()
        self._lock.close()
        super().destroy_node()

    async def _start_round(self, request: Trigger.Request, response: Trigger.Response) -> object:
        is_done = Future()
        try:
            started = self._autopilot.start_by_hand()
            # The run calls `_on_run_change` next, which wakes the executor.
            started.add_done_callback(lambda _: is_done.set_result(True))
            await is_done
            response.message = started.result()
            waiting = self._pipeline.queue_length
            if self._source.is_captured and waiting:
                response.message += f"; {waiting} frames that wait for their label come too late"
            response.success = True
        except (FlRobotError, OSError) as error:
            response.message = str(error)
        return self._replied("start_round", response)

    def _cancel_round(self, request: Trigger.Request, response: Trigger.Response) -> object:
        try:
            response.message = self._run.cancel()
            if self._settings.learn == "auto":
                response.message += "; the robot begins no other by itself for an hour"
            response.success = True
        except FlRobotError as error:
            response.message = str(error)
        return self._replied("cancel_round", response)

    def _rollback_model(self, request: Trigger.Request, response: Trigger.Response) -> object:
        try:
            taken_back = self._store.current()
            current = self._store.rollback(_BY_SERVICE)
            response.message = (
                f"model {current.name} is current again, until there is a better one"
            )
            if taken_back is not None:
                response.message += f"; 'fl_model use {taken_back.name}' goes forward again"
            response.success = True
        except FlRobotError as error:
            response.message = str(error)
        self._publish_state()
        return self._replied("rollback_model", response)

    def _set_capture(self, request: SetBool.Request, response: SetBool.Response) -> object:
        self._pipeline.is_enabled = bool(request.data)
        response.success = True
        response.message = "capturing" if request.data else "capture is paused"
        return self._replied("set_capture", response)

    def _replied(
        self, service: str, response: Trigger.Response | SetBool.Response
    ) -> Trigger.Response | SetBool.Response:
        """Log and return a service's reply."""
        line = f"{service}: {response.message}"
        # rclpy refuses a second severity from one and the same line of code.
        if response.success:
            self.get_logger().info(line)
        else:
            self.get_logger().warning(line)
        return response

    def _on_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        """Refuse bags that are not there."""
        for parameter in parameters:
            if parameter.name == "bag_paths":
                paths = [path for path in parameter.value or () if path]
                missing = [path for path in paths if not expand_path(path).exists()]
                if missing:
                    reason = f"there is no bag {', '.join(missing)}"
                    return SetParametersResult(successful=False, reason=reason)
                # Reading begins once the parameter is set; Humble has no callback for that.
                self._bag_paths_set.trigger()
        return SetParametersResult(successful=True)

    def _read_set_bags(self) -> None:
        """Read the bags of `bag_paths`, if the parameter was set anew."""
        parameter = self.get_parameter("bag_paths")
        if parameter is not self._bag_paths:
            self._bag_paths = parameter
            self._bags.add([path for path in parameter.value or () if path])

    def _on_run_change(self) -> None:
        """Let the executor publish; called from threads of the run."""
        self._run_changed.trigger()

    def _take_run_change(self) -> None:
        """Follow a change of the run."""
        self._autopilot.step()
        self._publish_state()

    def _look_at_rules(self) -> None:
        """Follow the signals that send no messages, and the graph."""
        self._signals.look()
        self._autopilot.step()

    def _on_verdict(self, verdict: str) -> None:
        """Say whether the robot learns, and why; the end of a run comes before what follows."""
        is_over = not self._run.status.is_active
        if is_over:
            self._publish_state()
        self.get_logger().info(verdict)
        if not is_over:
            self._publish_state()

    def _publish_state(self) -> None:
        """Publish status and model path if they changed."""
        status = self._run.status
        self._published_model = current, hold = self._model()
        if current is not None:
            file = current / self._settings.published_file
            # Versions of before export_int8 was set lack that file.
            path = str(file if file.exists() else current / TFLITE_FILE)
            if path != self._published_path:
                self._published_path = path
                self._path_publisher.publish(String(data=path))
                self.get_logger().info(f"current model: {path}")
        version = current.name if current is not None else ""
        self._status_publisher.publish(
            to_status_message(status, self._robot, version, hold, self._autopilot.verdict)
        )
        self._log_state(status)

    def _log_state(self, status: RunStatus) -> None:
        """Log a state of the run that a person may want to read in the morning."""
        line, before = str(status), self._published_state
        self._published_state = line
        if status.state == RunState.FAILED:
            if line != before:
                self.get_logger().error(line)
            return
        is_between_rounds = status.round > 0 and status.state in _BETWEEN_ROUNDS
        is_told = bool(status.detail) and status.detail in self._autopilot.verdict
        # The reason why a run is left comes again with its end.
        if not (before.startswith(line) or is_told or is_between_rounds or self._run.is_leaving):
            self.get_logger().info(line)

    def _model(self) -> tuple[Path | None, str]:
        """Return the folder of the current model version, and what holds it, "" for nothing."""
        return self._store.current(), str(self._store.hold() or "")

    def _publish_diagnostics(self) -> None:
        """Publish the diagnostics, once a second, and a model that others made current."""
        if self._model() != self._published_model:
            self._publish_state()
        now, frames = (
            time.monotonic(),
            Counter({camera.topic: camera.frames for camera in self._cameras}),
        )
        before, frames_before = self._last_rates
        self._last_rates = now, frames
        rates = {
            topic: (count - frames_before[topic]) / max(now - before, 1e-3)
            for topic, count in frames.items()
        }
        self._tell_rates(rates)
        verdicts, labels = self._pipeline.verdicts, self._labels
        before_trouble = self._past_verdicts[0] if self._past_verdicts else Counter[str]()
        self._past_verdicts.append(verdicts)
        lacks_labels = not labels.count and (
            verdicts[Verdict.REVIEW] or verdicts[Verdict.UNLABELLED]
        )
        message = DiagnosticArray()
        message.header.stamp = self.get_clock().now().to_msg()
        message.status = [
            to_capture_message(
                self._robot,
                verdicts,
                verdicts - before_trouble,
                queue_length=self._pipeline.queue_length,
                rates_hz=rates,
                silent_topics=[camera.topic for camera in self._cameras if camera.is_silent],
                # A bag brings its own labels.
                lacks_labels_on=labels.topic if lacks_labels and frames.total() else "",
                labels_received=labels.count,
                newest_label=labels.newest[:MAX_LABEL_CHARACTERS],
                bags=self._bags.progress,
                bags_pending=self._bags.pending,
                last_error=self._pipeline.last_error,
                is_enabled=self._pipeline.is_enabled,
                is_disk_full=self._pipeline.is_disk_full,
            ),
            self._dataset_message(),
            to_worker_message(
                self._robot, self._run.status, self._run.worker_pid, self._run.silent_sec
            ),
            to_rules_message(
                self._robot,
                self._autopilot.verdict,
                self._autopilot.findings,
                self._journal.weeks,
            ),
        ]
        self._diagnostics_publisher.publish(message)

    def _tell_rates(self, rates_hz: Mapping[str, float]) -> None:
        """Log once for each camera that many of its frames are passed over."""
        kept_hz = self._settings.sample_rate_hz
        for topic, rate_hz in rates_hz.items():
            if rate_hz > _PASSED_OVER * kept_hz and topic not in self._told_rates:
                self._told_rates.add(topic)
                self.get_logger().info(
                    f"{topic} sends {rate_hz:.0f} frames a second; sample_rate_hz keeps "
                    f"{kept_hz:g} of them, the others count as sampled_out"
                )

    def _dataset_message(self) -> DiagnosticStatus:
        """Return the state of the dataset, or why it cannot be read."""
        try:
            return to_dataset_message(
                self._robot,
                self._dataset.counts(),
                self._dataset.num_unlabelled(),
                self._dataset.disk_bytes(),
                self._dataset.path,
            )
        except (OSError, DatasetError) as error:
            return to_dataset_error_message(self._robot, str(error))


def _lock(data_dir: Path) -> ProcessLock:
    """Return the lock that reserves the data folder for this node.

    Raises:
        SettingError: The folder cannot be used, or another node uses it.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = ProcessLock(data_dir / ".lock")
        is_free = lock.acquire()
    except OSError as error:
        raise SettingError(f"data_dir {data_dir} cannot be used: {error}") from error
    if not is_free:
        lock.close()
        raise SettingError(
            f"data_dir {data_dir} is used by another fl_client; give each robot its own"
        )
    return lock


def _host_name() -> str:
    return socket.gethostname() or "robot"


def main(args: Sequence[str] | None = None) -> int:
    """Run the node; return the process's exit code."""
    return run_node(COMMAND, ClientNode, args)


if __name__ == "__main__":
    sys.exit(main())
