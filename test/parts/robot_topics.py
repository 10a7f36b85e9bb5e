"""What a robot publishes while it works: battery, velocity, goals of actions, permission."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from action_msgs.msg import GoalStatus, GoalStatusArray
from geometry_msgs.msg import Twist, TwistStamped
from ros_process import Peer
from sensor_msgs.msg import BatteryState

from fl_robot_ros.ros.qos import LATCHED, best_effort_qos

try:
    from nav_msgs.msg import Odometry
except ImportError:
    Odometry = None


class Repeater:
    """Publishes what a function returns again and again, until `stop`."""

    def __init__(
        self,
        peer: Peer,
        kind: type,
        topic: str,
        make: Callable[[], Any],
        period_sec: float = 0.1,
    ) -> None:
        self._peer = peer
        publisher = peer.publisher(kind, topic, best_effort_qos(5))
        self._publisher = publisher
        self._timer = peer.node.create_timer(period_sec, lambda: publisher.publish(make()))

    def stop(self) -> None:
        """Stop, and leave the graph."""
        self._peer.node.destroy_timer(self._timer)
        self._peer.node.destroy_publisher(self._publisher)


class FakeAction:
    """The status topic of an action server, as rcl_action publishes it."""

    def __init__(self, peer: Peer, name: str) -> None:
        self._peer = peer
        self._publisher = peer.publisher(GoalStatusArray, f"{name}/_action/status", LATCHED)

    def publish(self, *codes: int) -> float:
        """Publish the status of goals; return the monotonic time in s just before."""
        at = time.monotonic()
        goals = [GoalStatus(status=code) for code in codes]
        self._publisher.publish(GoalStatusArray(status_list=goals))
        return at

    def stop(self) -> None:
        """Leave the graph, as at a crash: without an end of the goals."""
        self._peer.node.destroy_publisher(self._publisher)


def battery(percentage: float, status: int = BatteryState.POWER_SUPPLY_STATUS_CHARGING) -> Any:
    """Return a message of a battery that is present."""
    return BatteryState(percentage=percentage, power_supply_status=status, present=True)


def velocity(kind: type, metres_per_sec: float) -> Any:
    """Return a Twist, TwistStamped or Odometry of a forward motion."""
    message = kind()
    twist = message
    while hasattr(twist, "twist"):
        twist = twist.twist
    twist.linear.x = metres_per_sec
    return message


__all__ = ["FakeAction", "Odometry", "Repeater", "Twist", "TwistStamped", "battery", "velocity"]
