"""The demonstration's fleet: one server and two robots, each program a process of its own."""

from __future__ import annotations

import os
import socket
import time
from contextlib import ExitStack
from types import TracebackType

from fl_robot_ros.demo.child_process import ChildProcess
from fl_robot_ros.demo.plan import IMAGE_TOPIC, INPUT_CHANNELS, INPUT_SIZE_PX, ROBOTS, DemoPlan
from fl_robot_ros.errors import RunFailedError

_LISTEN_TIMEOUT_SEC = 90.0


class DemoFleet:
    """Starts and ends the processes of server and robots."""

    def __init__(self, plan: DemoPlan, classes: tuple[str, ...]) -> None:
        """Prepare the fleet, without starting it.

        Args:
            plan: Numbers of the demonstration.
            classes: Class names of the scene.
        """
        self._plan = plan
        self._classes = classes
        self._stack = ExitStack()
        self._children: list[ChildProcess] = []
        self.port = _free_tcp_port()
        plan.log_dir.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> DemoFleet:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End all processes."""
        self._stack.close()

    def start_server(self) -> ChildProcess:
        """Start `fl_server`."""
        plan = self._plan
        options = {
            "port": self.port,
            "state-dir": plan.state_dir,
            "input-height": INPUT_SIZE_PX,
            "input-width": INPUT_SIZE_PX,
            "input-channels": INPUT_CHANNELS,
            "min-nodes": len(ROBOTS),
            "num-rounds": plan.rounds,
            "fraction-train": 1.0,
            "local-epochs": plan.local_epochs,
            "batch-size": plan.batch_size,
            "seed": plan.seed,
        }
        arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        return self._start(
            "server", "fl_robot_ros.cli.server", [*arguments, "--classes", *self._classes]
        )

    def wait_for_server(self, server: ChildProcess) -> None:
        """Wait until robots can connect.

        Raises:
            RunFailedError: The server exits, or does not listen in time.
        """
        deadline = time.monotonic() + _LISTEN_TIMEOUT_SEC
        while True:
            server.check_running()
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1.0):
                    return
            except OSError as error:
                if time.monotonic() > deadline:
                    raise RunFailedError(
                        f"the server does not listen after {_LISTEN_TIMEOUT_SEC:g} s"
                    ) from error
            time.sleep(0.1)

    def start_robot(self, robot: str, bag_paths: list[str]) -> ChildProcess:
        """Start a robot's `fl_client` and `fl_perception`; return the client."""
        client = self._start_node(
            robot,
            "client",
            {
                "data_dir": str(self._plan.robot_dir(robot)),
                "image_topics": [IMAGE_TOPIC],
                "bag_paths": bag_paths or [""],
                "sample_rate_hz": 1000.0,
                "queue_size": 1000,
                "segment_sec": 1.0,
                "split_gap_sec": 0.1,
                # Frames between two signs have no label, and no use here.
                "review_pool_size": 0,
                # After a single round a model may be no better than a guess, and is shown too.
                "publish_if": "always",
                # Two robots share this machine; more threads than cores would wait for each other.
                "worker_threads": max(1, (os.cpu_count() or 1) // len(ROBOTS)),
                "server_address": f"127.0.0.1:{self.port}",
            },
        )
        self._start_node(robot, "perception", {"image_topic": IMAGE_TOPIC})
        return client

    def start_streamer(self, robot: str, bag: str, playback_speed: float) -> ChildProcess:
        """Start a `fl_streamer` that plays a bag to a robot."""
        return self._start_node(
            robot, "streamer", {"source": bag, "playback_speed": playback_speed}
        )

    def check_running(self) -> None:
        """Raise RunFailedError if a process exited with an error."""
        for child in self._children:
            if child.exit_code not in (None, 0):
                child.check_running()

    def _start_node(self, robot: str, node: str, parameters: dict[str, object]) -> ChildProcess:
        arguments = ["--ros-args", "-r", f"__ns:=/{robot}"]
        for name, value in parameters.items():
            arguments += ["-p", f"{name}:={_yaml(value)}"]
        return self._start(f"{robot}-{node}", f"fl_robot_ros.nodes.{node}", arguments)

    def _start(self, name: str, module: str, arguments: list[str]) -> ChildProcess:
        child = ChildProcess(name, module, arguments, self._plan.log_dir)
        self._stack.callback(child.stop)
        self._children.append(child)
        return child


def _yaml(value: object) -> str:
    """Return the value of a parameter as YAML, for a ROS command line."""
    if isinstance(value, list):
        return "[" + ", ".join(_yaml(item) for item in value) + "]"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(value)


def _free_tcp_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
