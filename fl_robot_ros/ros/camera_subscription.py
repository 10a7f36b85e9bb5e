"""A camera topic of either image type and any reliability."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image

from fl_robot_ros.images.frame import Frame
from fl_robot_ros.ros.image_message import frame_from_compressed, frame_from_image
from fl_robot_ros.ros.publish_time import with_publish_time
from fl_robot_ros.ros.qos import COMPRESSED_TYPE, IMAGE_TYPE, qos_for_topic
from fl_robot_ros.ros.topic_names import full_topic_name

_LOOK_EVERY_SEC = 0.5
# A camera is reported after such a silence.
_SILENCE_SEC = 10.0
_MESSAGE_CLASSES = {IMAGE_TYPE: Image, COMPRESSED_TYPE: CompressedImage}


class CameraSubscription:
    """Subscribes once there is a publisher, with the publisher's type and reliability.

    The graph is looked at twice a second; a change of type or reliability renews the subscription.

    Attributes:
        topic: Full name of the topic.
        frames: Frames received so far.
        is_silent: Whether no frame has come for 10 s.
    """

    def __init__(
        self, node: Node, topic: str, on_frame: Callable[[Frame], None], depth: int
    ) -> None:
        """Look at the graph for the first time.

        Args:
            node: The node to subscribe with.
            topic: Name of the topic, relative or absolute.
            on_frame: Called with each frame by the node's executor; must not block.
            depth: Frames that may wait for `on_frame`.

        Raises:
            SettingError: The name is invalid.
        """
        self.topic = full_topic_name(node, topic)
        self.frames = 0
        self.is_silent = False
        self._heard_at = time.monotonic()
        self._node = node
        self._given_topic = topic
        self._on_frame = on_frame
        self._depth = depth
        self._type = ""
        self._reliability: ReliabilityPolicy | None = None
        self._subscription: Subscription | None = None
        self._refused_type = ""
        self._last_error = ""
        # Steady time: with use_sim_time, ROS time may stand still.
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(_LOOK_EVERY_SEC, self._look, clock=clock)
        self._look()

    @property
    def type_name(self) -> str:
        """The subscribed message type, for example "sensor_msgs/msg/Image"; "" before."""
        return self._type

    @property
    def is_reliable(self) -> bool:
        """Whether the subscription is reliable."""
        return bool(self._reliability == ReliabilityPolicy.RELIABLE)

    def destroy(self) -> None:
        """Stop looking and unsubscribe."""
        self._node.destroy_timer(self._timer)
        self._unsubscribe()

    def _look(self) -> None:
        """Adapt the subscription to what the graph shows now."""
        found = qos_for_topic(self._node, self._given_topic, self._depth, self._type)
        self._note_silence(is_published=found is not None)
        if found is None:
            return  # A publisher may come back unchanged.
        type_name, profile = found
        if type_name not in _MESSAGE_CLASSES:
            if type_name != self._refused_type:
                self._refused_type = type_name
                self._node.get_logger().error(
                    f"{self.topic} carries {type_name}; expected {' or '.join(_MESSAGE_CLASSES)}"
                )
            return
        if (type_name, profile.reliability) == (self._type, self._reliability):
            return
        has_other_type = self._subscription is not None and type_name != self._type
        self._unsubscribe()
        # Fast DDS refuses a topic of another type in a process while the old subscription exists,
        # which the executor prolongs: that change is made at the next look.
        if not has_other_type:
            self._subscribe(type_name, profile)

    def _note_silence(self, *, is_published: bool) -> None:
        """Log when a camera falls silent, with the likely reason."""
        was_silent = self.is_silent
        self.is_silent = time.monotonic() - self._heard_at >= _SILENCE_SEC
        if not self.is_silent or was_silent:
            return
        if not is_published:
            reason = "it has no publisher"
        elif self._subscription is None:
            reason = "no image is published on it"
        else:
            reason = "it is published, but nothing arrives; see docs/capture.md on large images"
        self._node.get_logger().warning(
            f"no frame on {self.topic} for {_SILENCE_SEC:.0f} s: {reason}"
        )

    def _subscribe(self, type_name: str, profile: QoSProfile) -> None:
        try:
            self._subscription = self._node.create_subscription(
                _MESSAGE_CLASSES[type_name],
                self._given_topic,
                with_publish_time(self._deliver),
                profile,
            )
        except RuntimeError as error:  # Any error of rcl.
            if str(error) != self._last_error:
                self._last_error = str(error)
                self._node.get_logger().error(
                    f"cannot subscribe to {self.topic} ({type_name}) yet: {error}"
                )
            return
        self._type, self._reliability = type_name, profile.reliability
        manner = "reliable" if self.is_reliable else "best effort"
        self._node.get_logger().info(f"subscribed to {self.topic} ({type_name}, {manner})")

    def _unsubscribe(self) -> None:
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
        self._subscription, self._type, self._reliability = None, "", None

    def _deliver(self, message: Any, published_ns: int) -> None:
        self.frames += 1
        self._heard_at = time.monotonic()
        if isinstance(message, Image):
            self._on_frame(frame_from_image(message, self.topic, published_ns))
        else:
            self._on_frame(frame_from_compressed(message, self.topic, published_ns))
