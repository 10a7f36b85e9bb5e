"""Node processes under test, and a peer in this process that talks to them over DDS."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from waiting import wait_until


class NodeProcess:
    """One node, a module or a .py file, in a process of its own; its output goes to a file."""

    def __init__(
        self,
        program: str,
        parameters: Mapping[str, object],
        log: Path,
        env: Mapping[str, str],
        ros_args: tuple[str, ...] = (),
        prefix: Sequence[str] = (),
    ) -> None:
        self._log = log
        words = [program] if program.endswith(".py") else ["-m", program]
        command = [*prefix, sys.executable, *words, "--ros-args", *ros_args]
        for name, value in parameters.items():
            command += ["-p", f"{name}:={value}"]
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                command, stdout=stream, stderr=subprocess.STDOUT, env=dict(env)
            )

    @property
    def output(self) -> str:
        """What the process has written so far."""
        return self._log.read_text(errors="replace")

    def wait(self, timeout_sec: float = 30.0) -> int:
        """Wait for the process to end by itself; return its exit code."""
        try:
            return self.process.wait(timeout_sec)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"still running after {timeout_sec} s:\n{self.output}") from error

    def interrupt(self, times: int = 1) -> int:
        """Send SIGINT and wait; return the exit code."""
        for _ in range(times):
            self.process.send_signal(signal.SIGINT)
        return self.wait()

    def wait_for_output(self, text: str) -> None:
        """Wait until the output contains the text."""
        wait_until(
            lambda: text in self.output or self.process.poll() is not None,
            f"{text!r} in {self.output}",
        )
        assert text in self.output

    def close(self) -> None:
        """End the process whatever it does."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10.0)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


# Starts `fl_robot_ros.nodes.<name>`: what the fixture `start_node` gives.
StartNode = Callable[..., NodeProcess]


class Peer:
    """A ROS node of the test, spun by a thread."""

    def __init__(self, name: str = "test_peer") -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node(name, context=self.context)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            pass

    def record(self, message_type: type, topic: str, qos: Any) -> list[Any]:
        """Subscribe; return the list that the messages are appended to."""
        messages: list[Any] = []
        take: Callable[[Any], None] = messages.append
        # A plain function, because rclpy inspects the callback's signature.
        self.node.create_subscription(message_type, topic, lambda message: take(message), qos)
        return messages

    def publisher(self, message_type: type, topic: str, qos: Any) -> Any:
        """Return a publisher without waiting for subscribers."""
        return self.node.create_publisher(message_type, topic, qos)

    def close(self) -> None:
        """Stop spinning and leave the graph."""
        self.context.try_shutdown()
        self._thread.join(10.0)
        self._executor.shutdown(timeout_sec=0)
        self.node.destroy_node()


def parent_environment() -> dict[str, str]:
    """Return the environment that node processes inherit."""
    return dict(os.environ)
