"""Publishes images with their labels drawn in, from a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from sensor_msgs.msg import Image

from fl_robot_ros.nodes.annotation import draw_prediction
from fl_robot_ros.perception.inference import Result
from fl_robot_ros.perception.waiting_items import WaitingItems
from fl_robot_ros.ros.image_message import to_image_message
from fl_robot_ros.ros.qos import reliable_qos


class AnnotatedImages:
    """Owns the thread and a publisher for each camera.

    Images are small, and the newest result of a camera replaces one that waits: a slow viewer
    makes no result late.
    """

    def __init__(
        self,
        node: Node,
        topics: Sequence[str],
        edge_px: int,
        on_crash: Callable[[Exception], None],
    ) -> None:
        """Make the publishers and start the thread.

        Args:
            node: The node to publish with.
            topics: A topic for each camera.
            edge_px: Shorter edge of the images in px; smaller ones stay as they are.
            on_crash: Called in the thread with an error that ended it.
        """
        self._publishers = [
            node.create_publisher(Image, topic, reliable_qos(1)) for topic in topics
        ]
        self._edge_px = edge_px
        self._on_crash = on_crash
        self._results: WaitingItems[Result] = WaitingItems(len(topics))
        self._thread = threading.Thread(target=self._run, name="annotated-images", daemon=True)
        self._thread.start()

    def offer(self, camera: int, result: Result) -> None:
        """Draw a result if somebody subscribes; returns at once."""
        if result.prediction is not None and self._publishers[camera].get_subscription_count():
            self._results.offer(camera, result)

    def stop(self) -> None:
        """End the thread after the image in progress."""
        self._results.close()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._results.is_closed:
                taken = self._results.take()
                if taken is not None:
                    self._publish(*taken)
        except Exception as error:
            self._on_crash(error)

    def _publish(self, camera: int, result: Result) -> None:
        assert result.image is not None
        assert result.prediction is not None
        image = _shrunk(result.image, self._edge_px)
        drawn = draw_prediction(image, result.prediction, result.predictor.version)
        frame = result.frame
        message = to_image_message(drawn, frame.stamp_ns, frame.frame_id)
        self._publishers[camera].publish(message)


def _shrunk(image: NDArray[np.uint8], edge_px: int) -> NDArray[np.uint8]:
    """Return an image, uint8 (H, W, 3), whose shorter edge is not above `edge_px`."""
    height, width = image.shape[:2]
    factor = edge_px / min(height, width)
    if factor >= 1.0:
        return image
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
