"""Listens to a robot's topics for some seconds and prints what was seen, for `fl_doctor`.

A process of its own, `python -m fl_robot_ros.nodes.graph_listener REQUEST`: middleware that hangs
or crashes takes no other check along. REQUEST and the printed line are JSON, of `ListenRequest`
and `RobotGraph`. It publishes nothing, and asks this robot's `fl_client` for its parameters.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from rcl_interfaces.srv import GetParameters
from rclpy.client import Client
from rclpy.node import Node
from rclpy.parameter import parameter_value_to_python
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from sensor_msgs.msg import BatteryState
from std_msgs.msg import String

from fl_robot_ros.config import ClientSettings
from fl_robot_ros.doctor.robot_graph import (
    INVALID_CODE,
    Arrival,
    Battery,
    Endpoint,
    ListenRequest,
    RobotGraph,
    Topic,
)
from fl_robot_ros.doctor.rule_signals import SETTINGS
from fl_robot_ros.errors import SettingError
from fl_robot_ros.images.frame import Frame
from fl_robot_ros.one_line import one_line
from fl_robot_ros.ros.camera_subscription import CameraSubscription
from fl_robot_ros.ros.frame_decoder import bridge_fault
from fl_robot_ros.ros.label_subscription import LabelSubscription
from fl_robot_ros.ros.qos import (
    COMPRESSED_TYPE,
    IMAGE_TYPE,
    LATCHED,
    best_effort_qos,
    quiet_events,
)
from fl_robot_ros.ros.topic_names import full_topic_name
from fl_robot_ros.ros.transports import profile_path, profile_variable

_NAME = "fl_doctor"
_BATTERY_TYPE = "sensor_msgs/msg/BatteryState"
_DEPTH = 30
_LABEL_DEPTH = 100
# What fl_perception draws is no camera.
_ANNOTATED = "/fl/perception/"
# What is asked of the client.
_PARAMETERS = ("image_topics", "use_sim_time", "battery_topic", *SETTINGS)
# DDS repeats after 3 s what got lost.
_DISCOVERY_SEC = 4.0
_REPLY_SEC = 2.0
_POLL_SEC = 0.1


class GraphListener:
    """Owns the subscriptions of one examination."""

    def __init__(self, node: Node, request: ListenRequest) -> None:
        """Wait for the graph, ask the client, and subscribe.

        Args:
            node: A node in the robot's namespace; the methods spin it.
            request: What to listen to.

        Raises:
            SettingError: The name of a topic is invalid.
        """
        self._node = node
        self._request = request
        client = node.create_client(GetParameters, "fl_client/get_parameters")
        self._spin(_DISCOVERY_SEC, client.service_is_ready)
        self._parameters = self._ask(client)
        self._status: dict[str, str] = {}
        self._model_path = ""
        self._battery: Battery | None = None
        self._arrivals: dict[str, list[Arrival]] = {}
        given = request.image_topics
        if given is None:
            given = self._parameters.get("image_topics") or ClientSettings.image_topics
        topics = dict.fromkeys(full_topic_name(node, name) for name in given if name)
        self._cameras = [CameraSubscription(node, name, self._on_frame, _DEPTH) for name in topics]
        self._labels = LabelSubscription(node, "fl/label", self._on_label, _LABEL_DEPTH)
        node.create_subscription(DiagnosticStatus, "fl/status", self._on_status, LATCHED)
        node.create_subscription(String, "fl/perception/model_path", self._on_model_path, LATCHED)
        self._battery_topic = request.battery_of(self._parameters)
        if self._battery_topic:
            node.create_subscription(
                BatteryState,
                self._battery_topic,
                self._on_battery,
                best_effort_qos(_DEPTH),
                event_callbacks=quiet_events(),
            )

    def listen(self) -> RobotGraph:
        """Listen, and return what was seen."""
        self._spin(self._request.seconds, lambda: False)
        node = self._node
        types = {
            name: types
            for name, types in node.get_topic_names_and_types()
            if node.count_publishers(name)
        }
        ending = "/fl/start_round"
        services = [name for name, _ in node.get_service_names_and_types()]
        clients = {name.removesuffix(ending) or "/" for name in services if name.endswith(ending)}
        battery = self._battery_topic
        has_perception = node.count_publishers("fl/perception/model_path") > 0
        return RobotGraph(
            namespace=node.get_namespace(),
            middleware=str(rclpy.get_rmw_implementation_identifier()),
            image_profile=_image_profile(),
            bridge_fault=bridge_fault(),
            seconds=self._request.seconds,
            num_nodes=sum(name != node.get_name() for name in node.get_node_names()),
            cameras=tuple(self._topic(camera.topic) for camera in self._cameras),
            labels=self._topic(self._labels.topic),
            model_path=self._topic(full_topic_name(node, "fl/model_path")),
            types=types,
            image_topics=tuple(
                name
                for name in _names_of(types, (IMAGE_TYPE, COMPRESSED_TYPE))
                if _ANNOTATED not in name
            ),
            battery_topics=_names_of(types, (_BATTERY_TYPE,)),
            battery_topic=self._topic(full_topic_name(node, battery)) if battery else None,
            battery=self._battery,
            client_namespaces=tuple(sorted(clients)),
            client_parameters=self._parameters,
            status=self._status,
            perception_model=self._model_path if has_perception else None,
            has_clock=node.count_publishers("/clock") > 0,
        )

    def _spin(self, seconds: float, is_done: Callable[[], bool]) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not is_done():
            rclpy.spin_once(self._node, timeout_sec=_POLL_SEC)

    def _ask(self, client: Client) -> dict[str, Any]:
        """Return parameters of this robot's `fl_client`, empty where none runs or replies."""
        if not client.service_is_ready():
            return {}
        values: dict[str, Any] = {}
        for name in _PARAMETERS:  # One by one: a node knows none of a list with one it lacks.
            future = client.call_async(GetParameters.Request(names=[name]))
            self._spin(_REPLY_SEC, future.done)
            reply = future.result() if future.done() else None
            if reply is not None and reply.values:
                value = parameter_value_to_python(reply.values[0])
                values[name] = list(value) if isinstance(value, (list, tuple)) else value
        return values

    def _topic(self, name: str) -> Topic:
        return Topic(
            name,
            self._endpoints(self._node.get_publishers_info_by_topic(name)),
            self._endpoints(self._node.get_subscriptions_info_by_topic(name)),
            tuple(self._arrivals.get(name, ())),
        )

    def _endpoints(self, infos: Iterable[Any]) -> tuple[Endpoint, ...]:
        """Return what others publish or subscribe to."""
        return tuple(
            Endpoint(
                f"{info.node_namespace.rstrip('/')}/{info.node_name}",
                str(info.topic_type),
                info.qos_profile.reliability == ReliabilityPolicy.RELIABLE,
                info.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL,
            )
            for info in infos
            if info.node_name != self._node.get_name()
        )

    def _on_frame(self, frame: Frame) -> None:
        arrival = Arrival(time.time_ns(), frame.published_ns, frame.stamp_ns, len(frame.data))
        self._arrivals.setdefault(frame.topic, []).append(arrival)

    def _on_label(self, label: str, published_ns: int) -> None:
        arrival = Arrival(time.time_ns(), published_ns, published_ns, len(label))
        self._arrivals.setdefault(self._labels.topic, []).append(arrival)

    def _on_status(self, message: DiagnosticStatus) -> None:
        self._status = {one.key: one.value for one in message.values}
        self._status["state"] = message.message

    def _on_model_path(self, message: String) -> None:
        self._model_path = message.data

    def _on_battery(self, message: BatteryState) -> None:
        percentage = float(message.percentage)
        self._battery = Battery(
            None if math.isnan(percentage) else percentage, bool(message.present)
        )


def _image_profile() -> str:
    """Return what a camera driver's environment needs for large images, "" for nothing."""
    if "fastrtps" not in rclpy.get_rmw_implementation_identifier():
        return ""
    try:
        return f"{profile_variable()}={profile_path()}"
    except SettingError:
        return ""


def _names_of(types: dict[str, list[str]], wanted: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(name for name, found in types.items() if {*found} & {*wanted}))


def main() -> int:
    """Listen, and print what was seen; return the exit code."""
    request = ListenRequest(**json.loads(sys.argv[1]))
    rclpy.init(args=[])
    try:
        node = Node(
            f"{_NAME}_{os.getpid()}",
            namespace=request.namespace,
            enable_rosout=False,
            start_parameter_services=False,
        )
        print(GraphListener(node, request).listen().to_json(), flush=True)
    except SettingError as error:
        print(one_line(str(error)), file=sys.stderr)
        return INVALID_CODE
    finally:
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
