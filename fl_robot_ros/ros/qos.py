"""Quality of service: the nodes' own, and the one that fits a camera's publishers."""

from __future__ import annotations

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

IMAGE_TYPE = "sensor_msgs/msg/Image"
COMPRESSED_TYPE = "sensor_msgs/msg/CompressedImage"


def latched_qos(depth: int) -> QoSProfile:
    """Return a profile under which late subscribers get the last `depth` messages."""
    return QoSProfile(
        depth=depth,
        history=HistoryPolicy.KEEP_LAST,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
    )


# For values that hold until the next one: late subscribers get the last.
LATCHED = latched_qos(1)


def reliable_qos(depth: int) -> QoSProfile:
    """Return a profile that loses nothing while fewer than `depth` messages wait."""
    return _volatile_qos(depth, ReliabilityPolicy.RELIABLE)


def best_effort_qos(depth: int) -> QoSProfile:
    """Return a profile that fits every publisher and may lose messages."""
    return _volatile_qos(depth, ReliabilityPolicy.BEST_EFFORT)


def quiet_events() -> SubscriptionEventCallbacks:
    """Return event callbacks that do not log incompatible publishers."""
    return SubscriptionEventCallbacks(use_default_callbacks=False)


def qos_for_topic(
    node: Node, topic: str, depth: int, preferred_type: str = ""
) -> tuple[str, QoSProfile] | None:
    """Find a topic's type, and the best quality of service that all its publishers can serve.

    "Sensor data" (best effort) for every camera would lose large images: of 640x480 rgb8 at
    30 Hz, 2 of 240 frames arrived best effort and 240 of 240 reliable (Fast DDS defaults). A
    reliable subscription in turn gets nothing from a best-effort publisher.

    Args:
        node: The node that looks at the graph.
        topic: Name of the topic, relative or absolute; remappings apply.
        depth: Messages that may wait to be taken.
        preferred_type: The type to choose where publishers disagree; image types come next.

    Returns:
        Type name, for example "sensor_msgs/msg/Image", and a volatile profile: reliable if every
        publisher of that type is, else best effort. None while there is no publisher.
    """
    publishers = node.get_publishers_info_by_topic(topic)
    types = {str(publisher.topic_type) for publisher in publishers}
    if not types:
        return None
    wishes = (preferred_type, IMAGE_TYPE, COMPRESSED_TYPE, min(types))
    chosen = next(wish for wish in wishes if wish in types)
    reliable = all(
        publisher.qos_profile.reliability == ReliabilityPolicy.RELIABLE
        for publisher in publishers
        if publisher.topic_type == chosen
    )
    reliability = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
    return chosen, _volatile_qos(depth, reliability)


def _volatile_qos(depth: int, reliability: ReliabilityPolicy) -> QoSProfile:
    return QoSProfile(
        depth=depth,
        history=HistoryPolicy.KEEP_LAST,
        reliability=reliability,
        durability=DurabilityPolicy.VOLATILE,
    )
