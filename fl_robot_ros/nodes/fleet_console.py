"""Watches and calls robots through their ROS interface alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from std_msgs.msg import String
from std_srvs.srv import Trigger

from fl_robot_ros.errors import RunFailedError
from fl_robot_ros.ros.qos import LATCHED, reliable_qos

_POLL_SEC = 0.05


@dataclass
class RobotView:
    """Latest state that a robot published.

    Attributes:
        state: State of its run, "" before the first message.
        values: Key and value of `fl/status`.
        model_path: Path on `fl/model_path`.
        perception_model_path: Path of the model that the perception node runs.
        dataset: Images by label, from `/diagnostics`.
        capture: Key and value of the capture's part of `/diagnostics`.
    """

    state: str = ""
    values: dict[str, str] = field(default_factory=dict)
    model_path: str = ""
    perception_model_path: str = ""
    dataset: dict[str, int] = field(default_factory=dict)
    capture: dict[str, str] = field(default_factory=dict)


class FleetConsole:
    """Calls the services of robots and follows their topics, in a thread of its own."""

    def __init__(self, robots: Sequence[str]) -> None:
        """Start listening.

        Args:
            robots: Namespaces of the robots, without slashes.
        """
        self.robots = {robot: RobotView() for robot in robots}
        self._context = Context()
        rclpy.init(context=self._context)
        self._node = Node("fl_console", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._starts: dict[str, Any] = {}
        for robot, view in self.robots.items():
            self._listen(robot, view)
        self._node.create_subscription(
            DiagnosticArray, "/diagnostics", self._on_diagnostics, reliable_qos(50)
        )
        self._thread = threading.Thread(target=self._spin, name="fleet-console", daemon=True)
        self._thread.start()

    def __enter__(self) -> FleetConsole:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop listening."""
        self._executor.shutdown(timeout_sec=1.0)
        self._context.try_shutdown()
        self._thread.join(5.0)

    def start_round(self, robot: str, timeout_sec: float = 30.0) -> tuple[bool, str]:
        """Call `fl/start_round` of a robot.

        Args:
            robot: Namespace of the robot.
            timeout_sec: How long to wait for the service and its reply.

        Returns:
            Success and message of the reply.

        Raises:
            RunFailedError: The robot does not reply in time.
        """
        client = self._starts[robot]
        deadline = time.monotonic() + timeout_sec
        if not client.wait_for_service(timeout_sec):
            raise RunFailedError(f"/{robot}/fl/start_round is not offered after {timeout_sec:g} s")
        future = client.call_async(Trigger.Request())
        while not future.done():
            if time.monotonic() > deadline:
                raise RunFailedError(
                    f"/{robot}/fl/start_round did not reply within {timeout_sec:g} s"
                )
            time.sleep(0.005)
        reply = future.result()
        return bool(reply.success), str(reply.message)

    def wait_until(self, condition: Callable[[], bool], timeout_sec: float, what: str) -> None:
        """Wait until a condition on the robots' views holds.

        Raises:
            RunFailedError: The condition is still false after the timeout.
        """
        deadline = time.monotonic() + timeout_sec
        while not condition():
            if time.monotonic() > deadline:
                raise RunFailedError(f"waited {timeout_sec:g} s without success for {what}")
            time.sleep(_POLL_SEC)

    def _listen(self, robot: str, view: RobotView) -> None:
        def on_status(message: DiagnosticStatus) -> None:
            view.values = {value.key: value.value for value in message.values}
            view.state = message.message

        def on_path(message: String) -> None:
            view.model_path = message.data

        def on_perception_path(message: String) -> None:
            view.perception_model_path = message.data

        node, prefix = self._node, f"/{robot}/fl"
        node.create_subscription(DiagnosticStatus, f"{prefix}/status", on_status, LATCHED)
        node.create_subscription(String, f"{prefix}/model_path", on_path, LATCHED)
        node.create_subscription(
            String, f"{prefix}/perception/model_path", on_perception_path, LATCHED
        )
        self._starts[robot] = node.create_client(Trigger, f"{prefix}/start_round")

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            view = self.robots.get(status.hardware_id)
            if view is None:
                continue
            values = {value.key: value.value for value in status.values}
            if status.name.endswith("fl_client dataset"):
                view.dataset = {
                    key.removeprefix("label "): int(value)
                    for key, value in values.items()
                    if key.startswith("label ")
                }
            elif status.name.endswith("fl_client capture"):
                view.capture = values

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            pass
