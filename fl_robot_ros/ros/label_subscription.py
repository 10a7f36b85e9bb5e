"""A topic of labels, whose publishers may be latched, reliable or best effort."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import String

from fl_robot_ros.ros.publish_time import with_publish_time
from fl_robot_ros.ros.qos import best_effort_qos, latched_qos, quiet_events, reliable_qos
from fl_robot_ros.ros.topic_names import full_topic_name

_LOOK_EVERY_SEC = 0.5
_TYPE = "std_msgs/msg/String"


class LabelSubscription:
    """Takes labels from every publisher, including the earlier labels of latched publishers.

    No subscription serves all: one that asks for old messages gets nothing from publishers that
    keep none, a reliable one gets nothing from best-effort publishers, and a best-effort one may
    lose messages of reliable publishers. So there are up to three; the last two are made when the
    graph shows a publisher for them. A label that comes over two of them counts once.

    Attributes:
        topic: Full name of the topic.
        count: Labels received so far.
        newest: The newest label, as published; "" for none.
    """

    def __init__(
        self, node: Node, topic: str, on_label: Callable[[str, int], None], depth: int
    ) -> None:
        """Subscribe.

        Args:
            node: The node to subscribe with.
            topic: Name of the topic, of std_msgs String.
            on_label: Called by the node's executor with each label and the time of its publication
                in ns since the epoch; must not block.
            depth: Labels that may wait for `on_label`.
        """
        self.topic = full_topic_name(node, topic)
        self.count = 0
        self.newest = ""
        self._node = node
        self._given_topic = topic
        self._on_label = on_label
        self._recent: deque[tuple[str, int]] = deque(maxlen=depth)
        self._other_types: set[str] = set()
        self._deliver = with_publish_time(self._take)
        self._latched: QoSProfile | None = latched_qos(depth)
        self._best_effort: QoSProfile | None = best_effort_qos(depth)
        self._subscribe(reliable_qos(depth))
        # Steady time: with use_sim_time, ROS time may stand still.
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(_LOOK_EVERY_SEC, self._look, clock=clock)

    def _look(self) -> None:
        """Subscribe to the publishers on the graph; log those of another type."""
        publishers = self._node.get_publishers_info_by_topic(self._given_topic)
        self._name_other_types({publisher.topic_type for publisher in publishers} - {_TYPE})
        for publisher in publishers:
            offered = publisher.qos_profile
            if publisher.topic_type != _TYPE:
                continue
            if offered.reliability == ReliabilityPolicy.BEST_EFFORT:
                if self._best_effort is not None:
                    self._subscribe(self._best_effort)
                    self._best_effort = None
            elif offered.durability == DurabilityPolicy.TRANSIENT_LOCAL and self._latched:
                self._subscribe(self._latched)
                self._latched = None

    def _subscribe(self, profile: QoSProfile) -> None:
        # Each subscription is incompatible with some publishers; that is expected.
        self._node.create_subscription(
            String, self._given_topic, self._deliver, profile, event_callbacks=quiet_events()
        )

    def _name_other_types(self, types: set[str]) -> None:
        """Log once for each other type that it is ignored."""
        for type_name in sorted(types - self._other_types):
            self._other_types.add(type_name)
            self._node.get_logger().warning(
                f"{self.topic} is published as {type_name}, which is ignored: labels are {_TYPE}"
            )

    def _take(self, message: String, published_ns: int) -> None:
        label = message.data, published_ns
        if label not in self._recent:
            self._recent.append(label)
            self.count += 1
            self.newest = message.data
            self._on_label(*label)
