"""A topic whose type, quality of service and publishers are those that the graph shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription

from fl_robot_ros.ros.qos import LATCHED, best_effort_qos, quiet_events, reliable_qos
from fl_robot_ros.ros.topic_names import full_topic_name

_DEPTH, _POLLED_DEPTH = 10, 4
_CHANGING = "it comes with another type from now on"


class _Unwatched(CallbackGroup):  # type: ignore[misc]
    """What is in it wakes no executor."""

    def can_execute(self, entity: object) -> bool:
        """Return False."""
        return False

    def beginning_execution(self, entity: object) -> bool:
        """Return False."""
        return False

    def ending_execution(self, entity: object) -> None:
        """Do nothing."""


class GraphSubscription:
    """Follows a topic from one look at the graph to the next.

    It is latched where all publishers are and the subscriber wants the last message of those that
    were there before, else reliable where all publishers are, else best effort, which fits all.

    Attributes:
        topic: Full name of the topic.
        type_name: The subscribed type, for example "sensor_msgs/msg/BatteryState"; "" before.
        publishers: The identifiers of the publishers that live, of that type.
        was_there: Whether there has been a publisher of a type that is wanted.
        is_latched: Whether the last message of each publisher reaches a late subscriber.
        problem: Why the topic cannot be read as it is now; "" where it can, or is not there.
    """

    def __init__(
        self,
        node: Node,
        topic: str,
        classes: Mapping[str, Callable[[], type]],
        on_message: Callable[[Any], None],
        *,
        wants_last: bool = False,
        is_polled: bool = False,
    ) -> None:
        """Look at the graph for the first time.

        Args:
            node: The node to subscribe with.
            topic: Name of the topic, relative or absolute.
            classes: For each type that may come, what imports its message class.
            on_message: Called with each message, by the node's executor or by `poll`; must not
                block.
            wants_last: Whether the last message of a latched publisher is wanted.
            is_polled: Whether messages wait for `poll`, the newest four of them, for topics of a
                high rate: each message that wakes rclpy's executor costs it 0.7 ms.

        Raises:
            SettingError: The name is invalid.
        """
        self.topic = full_topic_name(node, topic)
        self.type_name = ""
        self.publishers: frozenset[object] = frozenset()
        self.was_there = False
        self.is_latched = False
        self.problem = ""
        self._node = node
        self._given_topic = topic
        self._classes = classes
        self._on_message = on_message
        self._wants_last = wants_last
        self._group = _Unwatched() if is_polled else None
        self._depth = _POLLED_DEPTH if is_polled else _DEPTH
        self._subscription: Subscription | None = None
        self._profile: QoSProfile | None = None
        self._told_problem = ""
        self.look()

    def poll(self) -> None:
        """Pass on the messages that wait."""
        subscription = self._subscription
        if subscription is None:
            return
        with subscription.handle:
            for _ in range(_POLLED_DEPTH):
                # As rclpy's executor takes one.
                taken = subscription.handle.take_message(subscription.msg_type, subscription.raw)
                if taken is None:
                    return
                self._take(taken[0])

    def look_for_publishers(self) -> None:
        """Take the publishers that the graph shows now; also from within `on_message`."""
        found = self._node.get_publishers_info_by_topic(self._given_topic)
        self.publishers = frozenset(
            _identifier(item) for item in found if item.topic_type == self.type_name
        )

    def look(self) -> None:
        """Take what the graph shows now, and subscribe accordingly."""
        found = self._node.get_publishers_info_by_topic(self._given_topic)
        types = {str(publisher.topic_type) for publisher in found}
        wanted = types & self._classes.keys()
        self.problem = ""
        if types - wanted or len(wanted) > 1:
            expected = "one of them" if len(wanted) > 1 else " or ".join(self._classes)
            self.problem = f"it carries {' and '.join(sorted(types))}; expected {expected}"
        if wanted:
            self.was_there = True
            type_name = self.type_name if self.type_name in wanted else min(wanted)
            publishers = [item for item in found if item.topic_type == type_name]
            self._adapt(type_name, self._fitting(publishers))
        else:
            # A publisher may come back unchanged.
            publishers = []
        self.publishers = frozenset(_identifier(item) for item in publishers)
        if self.problem not in ("", _CHANGING, self._told_problem):
            self._node.get_logger().warning(f"{self.topic}: {self.problem}")
        self._told_problem = self.problem

    def _fitting(self, publishers: Sequence[Any]) -> QoSProfile:
        """Return the best quality of service that all publishers offer."""
        offered = [publisher.qos_profile for publisher in publishers]
        if not all(qos.reliability == ReliabilityPolicy.RELIABLE for qos in offered):
            return best_effort_qos(self._depth)
        if self._wants_last and all(
            qos.durability == DurabilityPolicy.TRANSIENT_LOCAL for qos in offered
        ):
            return LATCHED
        return reliable_qos(self._depth)

    def _adapt(self, type_name: str, profile: QoSProfile) -> None:
        """Subscribe, anew where type or quality of service changed."""
        if self._subscription is not None:
            if (type_name, profile) == (self.type_name, self._profile):
                return
            has_other_type = type_name != self.type_name
            self._node.destroy_subscription(self._subscription)
            self._subscription, self.type_name = None, ""
            # Fast DDS refuses a topic of another type in a process while the old subscription
            # exists, which the executor prolongs: that change is made at the next look.
            if has_other_type:
                self.problem = self.problem or _CHANGING
                return
        try:
            self._subscription = self._node.create_subscription(
                self._classes[type_name](),
                self._given_topic,
                self._take,
                profile,
                callback_group=self._group,
                event_callbacks=quiet_events(),
            )
        except ImportError:
            package = type_name.partition("/")[0]
            self.problem = f"it carries {type_name}, and the package {package} is not installed"
        except RuntimeError as error:  # any error of rcl
            self.problem = f"cannot subscribe to {type_name} yet: {error}"
        else:
            self.type_name, self._profile = type_name, profile
            self.is_latched = profile.durability == DurabilityPolicy.TRANSIENT_LOCAL

    def _take(self, message: Any) -> None:
        self._on_message(message)


def _identifier(publisher: Any) -> object:
    return tuple(publisher.endpoint_gid)
