"""The signals that a robot's rules read: ROS topics, its computer, its dataset and the clock."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from action_msgs.msg import GoalStatusArray
from geometry_msgs.msg import Twist, TwistStamped
from rclpy.node import Node
from sensor_msgs.msg import BatteryState, Temperature
from std_msgs.msg import Bool

from fl_robot_ros.autonomy import machine
from fl_robot_ros.autonomy.action_goals import ActionGoals
from fl_robot_ros.autonomy.battery import Battery
from fl_robot_ros.autonomy.finished_run import FinishedRun, hours_since_run, new_samples
from fl_robot_ros.autonomy.motion import Motion
from fl_robot_ros.autonomy.permission import Permission
from fl_robot_ros.autonomy.reading import KeptReading, Reading
from fl_robot_ros.autonomy.rules import Rule
from fl_robot_ros.config import ClientSettings
from fl_robot_ros.dataset.dataset import Dataset
from fl_robot_ros.ros.graph_subscription import GraphSubscription

_ODOMETRY = "nav_msgs/msg/Odometry"
_LOOK_EVERY_SEC = 0.45  # at every other call, twice a second


def _odometry() -> type:
    """Import Odometry, from a package that not every robot has."""
    from nav_msgs.msg import Odometry

    return Odometry  # type: ignore[no-any-return]


class RobotSignals:
    """Subscribes to what the rules need, and to nothing else. Belongs to the executor's thread."""

    def __init__(
        self,
        node: Node,
        rules: Iterable[Rule],
        settings: ClientSettings,
        dataset: Dataset,
        data_dir: Path,
        finished_run: Callable[[], FinishedRun | None],
        worker_pid: Callable[[], int | None],
        on_change: Callable[[], None],
    ) -> None:
        """Subscribe.

        Args:
            node: The node to subscribe with.
            rules: The rules that are read.
            settings: The client's settings.
            dataset: The robot's dataset.
            data_dir: The folder whose disk the rule free_disk_mb means.
            finished_run: Returns the newest finished run.
            worker_pid: Returns the worker's process, None without one.
            on_change: Called after a message of a goal, which is urgent and rare; all others are
                taken by `look`.

        Raises:
            SettingError: The name of a topic or an action is invalid.
        """
        self._node = node
        self._settings = settings
        self._on_change = on_change
        self._subscriptions: list[GraphSubscription] = []
        self._polled: list[GraphSubscription] = []
        self._looked_at = -math.inf
        self._looks: list[Callable[[float], None]] = []
        self._temperature: tuple[float, float] | None = None  # °C, and when it was heard
        self._readers: dict[str, Callable[[float], Reading]] = {
            "clock": _clock,
            # At the end of a run, the samples that it has learned from are new no longer.
            "new_samples": KeptReading(
                lambda: new_samples(dataset, finished_run()), depends_on=finished_run
            ),
            "hours_since_run": lambda _: hours_since_run(finished_run(), time.time()),
            "free_disk_mb": KeptReading(lambda: machine.free_disk_mb(data_dir)),
            "free_memory_mb": KeptReading(
                lambda: machine.free_memory_mb(worker_pid()), depends_on=worker_pid
            ),
            "temperature": KeptReading(machine.temperature),
        }
        rules = list(rules)
        signals = {rule.signal for rule in rules}
        if signals & {"battery", "charging"}:
            self._follow_battery()
        if "still" in signals:
            self._follow_motion()
        if "no_goal" in signals:
            self._follow_goals()
        if "temperature" in signals and settings.temperature_topic:
            self._follow_temperature()
        for topic in {rule.topic for rule in rules if rule.topic}:
            self._follow_permission(topic)

    def read(self, rule: Rule, now: float) -> Reading:
        """Return the reading of a rule's signal at a monotonic time in s."""
        return self._readers[_key(rule.signal, rule.topic)](now)

    def look(self) -> None:
        """Take the messages that wait and, twice a second, what the graph shows.

        To be called four times a second.
        """
        now = time.monotonic()
        for topic in self._polled:
            topic.poll()
        if now - self._looked_at < _LOOK_EVERY_SEC:
            return
        self._looked_at = now
        for subscription in self._subscriptions:
            subscription.look()
        for take_look in self._looks:
            take_look(now)

    def _subscribe(
        self,
        topic: str,
        classes: dict[str, Callable[[], type]],
        on_message: Callable[[Any], None],
        *,
        wants_last: bool = False,
        is_polled: bool = False,
    ) -> GraphSubscription:
        subscription = GraphSubscription(
            self._node,
            topic,
            classes,
            on_message,
            wants_last=wants_last,
            is_polled=is_polled,
        )
        self._subscriptions.append(subscription)
        if is_polled:
            self._polled.append(subscription)
        return subscription

    def _follow_battery(self) -> None:
        def take(message: BatteryState) -> None:
            counted_percent = battery.counts_percent
            battery.take(
                message.percentage,
                message.power_supply_status,
                message.current,
                is_present=message.present,
                now=time.monotonic(),
            )
            if battery.counts_percent and not counted_percent:
                self._node.get_logger().warning(
                    f"{subscription.topic} says {message.percentage:g}, above 1: it counts in per "
                    "cent from now on; sensor_msgs/BatteryState has 0 to 1"
                )

        classes = {"sensor_msgs/msg/BatteryState": lambda: BatteryState}
        subscription = self._subscribe(self._settings.battery_topic, classes, take, is_polled=True)
        battery = Battery(subscription.topic, self._settings.signal_timeout_sec)
        self._readers["battery"] = _unless(subscription, battery.charge)
        self._readers["charging"] = _unless(subscription, battery.is_charging)

    def _follow_temperature(self) -> None:
        def take(message: Temperature) -> None:
            self._temperature = message.temperature, time.monotonic()

        def read(now: float) -> Reading:
            celsius, heard_at = self._temperature or (math.nan, -math.inf)
            silent_sec = now - heard_at
            if self._temperature is None:
                return Reading.unknown(f"no message on {subscription.topic} yet")
            if silent_sec > self._settings.signal_timeout_sec:
                return Reading.unknown(
                    f"no message on {subscription.topic} for {silent_sec:.0f} s"
                )
            return Reading(celsius, f"{celsius:.1f}")

        classes = {"sensor_msgs/msg/Temperature": lambda: Temperature}
        subscription = self._subscribe(
            self._settings.temperature_topic, classes, take, is_polled=True
        )
        self._readers["temperature"] = _unless(subscription, read)

    def _follow_motion(self) -> None:
        topics = self._settings.motion_topics

        def take(topic: str, message: Any) -> None:
            twist = message
            while hasattr(twist, "twist"):  # TwistStamped has one, Odometry has two
                twist = twist.twist
            components = (
                *(twist.linear.x, twist.linear.y, twist.linear.z),
                *(twist.angular.x, twist.angular.y, twist.angular.z),
            )
            motion.take(topic, components, time.monotonic())

        classes: dict[str, Callable[[], type]] = {
            "geometry_msgs/msg/Twist": lambda: Twist,
            "geometry_msgs/msg/TwistStamped": lambda: TwistStamped,
            _ODOMETRY: _odometry,
        }
        found = {
            name: self._subscribe(name, classes, partial(take, name), is_polled=True)
            for name in topics
        }
        motion = Motion(found, self._settings.signal_timeout_sec)

        def look(_: float) -> None:
            for name, subscription in found.items():
                problem = subscription.problem
                if not (problem or subscription.was_there):
                    problem = "nobody has published it yet"
                is_measured = subscription.type_name == _ODOMETRY
                motion.see(name, problem, is_measured=is_measured)

        self._looks.append(look)
        self._readers["still"] = motion.is_still

    def _follow_goals(self) -> None:
        names = self._settings.action_names
        goals = ActionGoals(names)

        def take(name: str, message: GoalStatusArray) -> None:
            now = time.monotonic()
            look_at(name, now)  # the server may have come after the last look
            goals.take(name, [status.status for status in message.status_list], now)
            self._on_change()

        classes = {"action_msgs/msg/GoalStatusArray": lambda: GoalStatusArray}
        found = {
            name: self._subscribe(
                f"{name}/_action/status",
                classes,
                partial(take, name),
                wants_last=True,
            )
            for name in names
        }

        def look_at(name: str, now: float) -> None:
            found[name].look_for_publishers()
            is_latched = found[name].is_latched
            goals.see(name, found[name].publishers, is_latched=is_latched, now=now)

        def look(now: float) -> None:
            for name in found:
                look_at(name, now)

        self._looks.append(look)
        self._readers["no_goal"] = goals.no_goal

    def _follow_permission(self, topic: str) -> None:
        def take(message: Bool) -> None:
            now = time.monotonic()
            look(now)
            permission.take(message.data, now)

        def look(now: float) -> None:
            subscription.look_for_publishers()
            is_latched = subscription.is_latched
            permission.see(subscription.publishers, is_latched=is_latched, now=now)

        classes = {"std_msgs/msg/Bool": lambda: Bool}
        subscription = self._subscribe(topic, classes, take, wants_last=True, is_polled=True)
        permission = Permission(topic, self._settings.signal_timeout_sec)
        self._looks.append(look)
        self._readers[_key("topic", topic)] = _unless(subscription, permission.is_given)


def _key(signal: str, topic: str) -> str:
    """Return what a reader is known by."""
    return f"{signal} {topic}".strip()


def _unless(
    subscription: GraphSubscription, read: Callable[[float], Reading]
) -> Callable[[float], Reading]:
    """Return a reader that says why a topic cannot be read where it cannot."""

    def read_or_say(now: float) -> Reading:
        if subscription.problem:
            return Reading.unknown(f"{subscription.topic}: {subscription.problem}")
        return read(now)

    return read_or_say


def _clock(_: float) -> Reading:
    now = datetime.now()
    return Reading(now.hour * 60 + now.minute, f"{now:%H:%M}")
