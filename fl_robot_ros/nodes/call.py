"""`fl_call`: calls a robot's services and shows its state, where there is no `ros2` command."""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.exceptions import InvalidNamespaceException
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.validate_namespace import validate_namespace
from std_srvs.srv import SetBool, Trigger

from fl_robot_ros.errors import FlRobotError, RunFailedError
from fl_robot_ros.one_line import one_line
from fl_robot_ros.ros.qos import LATCHED
from fl_robot_ros.worker_link.run_status import FINISHED, RunState

_DESCRIPTION = """\
Call a service of a robot's fl_client and print the reply, or show its state.
"""

_EPILOG = """\
commands:
  start_round         take part in the server's next run
  cancel_round        leave the run
  set_capture on|off  resume or pause the capture
  rollback_model      go back to the model before the current one
  status              print fl/status

examples:
  fl_call start_round --wait
  fl_call --namespace robot1 set_capture off

The robot must be in the same ROS domain (variable ROS_DOMAIN_ID).

exit code: 0 done; 1 the robot refused, did not reply, or its run failed;
2 wrong command line; 130 interrupted
"""

_COMMANDS = ("start_round", "cancel_round", "set_capture", "rollback_model", "status")
_TIMEOUT_SEC = 15.0
_POLL_SEC = 0.2


class RobotCaller:
    """Calls the services of one robot and follows its status."""

    def __init__(self, node: Node, timeout_sec: float, interrupt: threading.Event) -> None:
        """Subscribe to the status.

        Args:
            node: Node in the robot's namespace; the methods spin it.
            timeout_sec: How long to wait for the robot, and for each reply.
            interrupt: Ends every wait with a KeyboardInterrupt once it is set.
        """
        self._node = node
        self._timeout_sec = timeout_sec
        self._interrupt = interrupt
        # Statuses that arrived and were not processed yet.
        self._statuses: list[dict[str, str]] = []
        node.create_subscription(DiagnosticStatus, "fl/status", self._on_status, LATCHED)

    def call(self, service: str, is_on: bool | None = None) -> tuple[bool, str]:
        """Call a service.

        Args:
            service: Name of the service below `fl/`.
            is_on: Request of a SetBool service; None for a Trigger service.

        Returns:
            Success and message of the reply.

        Raises:
            RunFailedError: No robot offers the service, or the reply does not come in time.
        """
        kind = Trigger if is_on is None else SetBool
        request = Trigger.Request() if is_on is None else SetBool.Request(data=is_on)
        client = self._node.create_client(kind, f"fl/{service}")
        if not self._wait_until(client.service_is_ready):
            raise RunFailedError(self._absence())
        future = client.call_async(request)
        if not self._wait_until(future.done):
            raise RunFailedError(
                f"{client.service_name} did not reply within {self._timeout_sec:g} s"
            )
        reply: Any = future.result()
        return bool(reply.success), str(reply.message)

    def status(self) -> dict[str, str]:
        """Return the newest status: `state` and the values of `fl/status`.

        Raises:
            RunFailedError: No status arrives in time.
        """
        if not self._wait_until(lambda: bool(self._statuses)):
            raise RunFailedError(self._absence())
        return self._statuses[-1]

    def run(self) -> bool:
        """Start a run, print its steps and return at its end whether it finished.

        Raises:
            RunFailedError: The robot does not reply, or goes away during the run.
        """
        self.status()
        # These statuses are of an earlier run; those that arrive from now on are of this one.
        self._statuses.clear()
        accepted, message = self.call("start_round")
        print(one_line(message), flush=True)
        before: Mapping[str, str] = {}
        while accepted:
            for status in self._statuses:
                for line in steps(before, status):
                    print(line, flush=True)
                before = status
                if status["state"] in (RunState.IDLE, RunState.FAILED):
                    return status["detail"].startswith(FINISHED)
            self._statuses.clear()
            if not self._node.count_publishers("fl/status"):
                raise RunFailedError("the robot went away during the run")
            self._spin_once()
        return False

    def _wait_until(self, condition: Callable[[], bool]) -> bool:
        """Wait for a condition; return whether it became true in time."""
        end = time.monotonic() + self._timeout_sec
        while not condition():
            if time.monotonic() > end:
                return False
            self._spin_once()
        return True

    def _spin_once(self) -> None:
        if self._interrupt.is_set():
            raise KeyboardInterrupt
        rclpy.spin_once(self._node, timeout_sec=_POLL_SEC)

    def _on_status(self, message: DiagnosticStatus) -> None:
        # From the network; people read it in a terminal.
        values = {one_line(item.key): one_line(item.value) for item in message.values}
        self._statuses.append({**values, "state": message.message})

    def _absence(self) -> str:
        """Return why nobody replies, as far as the ROS graph tells."""
        namespace = self._node.get_namespace()
        ending = "/fl/start_round"
        others = sorted(
            name.removesuffix(ending) or "/"
            for name, _ in self._node.get_service_names_and_types()
            if name.endswith(ending)
        )
        domain = os.environ.get("ROS_DOMAIN_ID") or "0"
        where = f"in ROS domain {domain} after {self._timeout_sec:g} s"
        if others and namespace not in others:
            return (
                f"no fl_client in the namespace {namespace} {where}; there is one in "
                f"{', '.join(others)}, see --namespace"
            )
        return f"no fl_client replies in the namespace {namespace} {where}; is it running?"


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = _parse(args)
    # A KeyboardInterrupt in the midst of rclpy's code can get lost there.
    interrupt = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: interrupt.set())
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = Node("fl_call", namespace=options.namespace)
        caller = RobotCaller(node, options.timeout, interrupt)
        if options.command == "status":
            for name, value in caller.status().items():
                if value not in ("", "0"):
                    print(f"{name}: {value}")
            return 0
        if options.wait:
            return 0 if caller.run() else 1
        is_on = None if options.value is None else options.value == "on"
        accepted, message = caller.call(options.command, is_on)
        print(one_line(message))
        return 0 if accepted else 1
    except FlRobotError as error:
        print(f"fl_call: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        rclpy.try_shutdown()


def _parse(args: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="fl_call",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=_COMMANDS, metavar="COMMAND", help="see below")
    parser.add_argument("value", nargs="?", choices=("on", "off"), help="of set_capture")
    parser.add_argument(
        "--namespace", type=_namespace, default="/", metavar="NAME", help="the robot's namespace"
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=_TIMEOUT_SEC,
        metavar="SEC",
        help=f"how long to wait for the robot, and for its reply (default {_TIMEOUT_SEC:g})",
    )
    parser.add_argument(
        "--wait", action="store_true", help="of start_round: show the run until it ends"
    )
    options = parser.parse_args(args)
    if (options.command == "set_capture") != (options.value is not None):
        parser.error("'on' or 'off' is needed for set_capture, and for no other command")
    if options.wait and options.command != "start_round":
        parser.error("--wait is for start_round only")
    if not 0 < options.timeout < math.inf:
        parser.error(f"--timeout is {options.timeout:g}; expected a number of seconds above 0")
    return options


def _namespace(text: str) -> str:
    """Return a namespace with its leading slash."""
    name = f"/{text.strip('/')}"
    try:
        validate_namespace(name)
    except InvalidNamespaceException as error:
        reason = " ".join(str(error).split()).removeprefix("Invalid namespace: ")
        raise argparse.ArgumentTypeError(reason) from error
    return name


def steps(before: Mapping[str, str], status: Mapping[str, str]) -> Iterator[str]:
    """Yield lines about what is new in a status of a run."""
    # During training the accuracy is that on the training images.
    if before.get("state") == RunState.EVALUATING != status["state"]:
        yield f"  accuracy {status['accuracy']} on the images that this robot held out"
    line = _line(status)
    if not before or line != _line(before):
        yield line


def _line(status: Mapping[str, str]) -> str:
    parts = [status["state"]]
    if status["round"] != "0":
        parts.append(f"round {status['round']} of {status['rounds']}")
    if status["detail"]:
        parts.append(status["detail"])
    return ", ".join(parts)


if __name__ == "__main__":
    sys.exit(main())
