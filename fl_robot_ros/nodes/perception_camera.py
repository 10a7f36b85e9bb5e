"""One camera of `fl_perception`: its subscription and its results."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from std_msgs.msg import String

from fl_robot_ros.config import PerceptionSettings
from fl_robot_ros.errors import SettingError
from fl_robot_ros.images.frame import Frame
from fl_robot_ros.nodes.perception_message import (
    to_classification_message,
    to_result_message,
    vision_msgs,
)
from fl_robot_ros.perception.inference import Result
from fl_robot_ros.perception.smoothing import Smoothing
from fl_robot_ros.ros.camera_subscription import CameraSubscription
from fl_robot_ros.ros.qos import reliable_qos
from fl_robot_ros.ros.topic_names import names_by_topic

TOPIC = "fl/perception"
# Results that may wait for a slow subscriber.
_RESULT_DEPTH = 30
# Frames that may wait while a callback runs; each is handed on at once.
_CAMERA_DEPTH = 5


class PerceptionCamera:
    """Publishes a label and a result for every frame of a camera that was taken.

    Attributes:
        subscription: The camera.
    """

    def __init__(
        self,
        node: Node,
        topic: str,
        prefix: str,
        settings: PerceptionSettings,
        on_frame: Callable[[Frame], None],
    ) -> None:
        """Make the publishers and subscribe.

        Args:
            node: The node.
            topic: The camera's topic.
            prefix: What the names of its results begin with.
            settings: The node's settings.
            on_frame: Called with each frame by the node's executor; must not block.

        Raises:
            SettingError: The name is invalid.
        """
        self._min_confidence = settings.min_confidence
        self._smoothing = Smoothing(settings.smoothing_sec)
        results = reliable_qos(_RESULT_DEPTH)
        self._label_publisher = node.create_publisher(String, f"{prefix}/label", results)
        self._result_publisher = node.create_publisher(
            DiagnosticArray, f"{prefix}/result", results
        )
        self._classification_publisher = None
        if vision_msgs is not None:
            self._classification_publisher = node.create_publisher(
                vision_msgs.Classification, f"{prefix}/classification", results
            )
        depth = max(_CAMERA_DEPTH, settings.queue_size)
        self.subscription = CameraSubscription(node, topic, on_frame, depth)

    def publish(self, result: Result) -> Result:
        """Publish what became of a frame; return it smoothed."""
        label = ""
        if result.prediction is not None:
            prediction = self._smoothing.apply(
                result.prediction, result.predictor, time.monotonic()
            )
            result = replace(result, prediction=prediction)
            if prediction.confidence >= self._min_confidence:
                label = prediction.label
        self._label_publisher.publish(String(data=label))
        if self._result_publisher.get_subscription_count():
            self._result_publisher.publish(to_result_message(result, label))
        classifications = self._classification_publisher
        if classifications is not None and classifications.get_subscription_count():
            classifications.publish(to_classification_message(result))
        return result


def result_prefixes(node: Node, topics: tuple[str, ...]) -> dict[str, str]:
    """Return the first part of the names of results by camera topic.

    For a single camera it is `fl/perception`, for each of several the camera's own name follows,
    without the node's namespace: `fl/perception/front/image_raw`.

    Args:
        node: The node, whose remappings apply.
        topics: Names of the camera topics; two names of one topic are one camera.

    Raises:
        SettingError: A name is invalid, or two cameras would have the same names of results.
    """
    names = names_by_topic(node, topics)
    if len(names) == 1:
        return {written[-1]: TOPIC for written in names.values()}
    prefixes: dict[str, str] = {}
    namespace = node.get_namespace().rstrip("/")
    for full, written in names.items():
        own = full.removeprefix(f"{namespace}/").lstrip("/")
        if f"{TOPIC}/{own}" in prefixes.values():
            raise SettingError(
                f"image_topics has two cameras with results on {TOPIC}/{own}; expected cameras of "
                "different names: remap one"
            )
        prefixes[written[-1]] = f"{TOPIC}/{own}"
    return prefixes
