"""`fl_perception`: runs the fleet's newest model on a camera, and swaps it between two frames."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Sequence

from rclpy.node import Node
from sensor_msgs.msg import Image
from std_msgs.msg import String

from fl_robot_ros.config import PerceptionSettings, expand_path
from fl_robot_ros.delivery.loader import ModelLoader
from fl_robot_ros.delivery.predictor import Predictor
from fl_robot_ros.errors import FlRobotError, ModelError
from fl_robot_ros.images.decode import decode_frame
from fl_robot_ros.images.frame import Frame
from fl_robot_ros.nodes.annotation import draw_prediction
from fl_robot_ros.ros.camera_subscription import CameraSubscription
from fl_robot_ros.ros.command_line import NodeCommand
from fl_robot_ros.ros.image_message import to_image_message
from fl_robot_ros.ros.lifetime import run_node
from fl_robot_ros.ros.qos import LATCHED, reliable_qos
from fl_robot_ros.ros.settings import declare_settings
from fl_robot_ros.ros.transports import make_room_for_large_images

COMMAND = NodeCommand(
    "fl_perception",
    "Runs the fleet's newest model on a camera, and swaps it between two frames.",
    PerceptionSettings,
    topics=(
        ("image_topic", "sensor_msgs Image or CompressedImage, in", "The camera."),
        ("fl/model_path", "std_msgs/String, in, latched", "The model to run, from fl_client."),
        ("fl/perception/label", "std_msgs/String", "The label of each frame."),
        ("fl/perception/model_path", "std_msgs/String, latched", "The model that runs."),
        (
            "fl/perception/image",
            "sensor_msgs/Image",
            "The frame with its label drawn in, while somebody subscribes.",
        ),
    ),
)


class PerceptionNode(Node):  # type: ignore[misc]
    """Publishes one label per frame; takes models from `fl/model_path`.

    A thread loads models, and they are exchanged between two frames. Where a model cannot be
    loaded, the old one stays in use.
    """

    def __init__(self) -> None:
        """Declare the parameters, subscribe and load the start-up model.

        Raises:
            SettingError: A parameter is invalid.
        """
        super().__init__("fl_perception")
        self._settings = declare_settings(self, PerceptionSettings)
        depth = self._settings.queue_size
        self._predictor: Predictor | None = None
        self._loaded: deque[tuple[str, Predictor]] = deque()
        self._labelled = 0
        self._unclassified = 0
        self._without_model = 0
        self._last_error = ""
        self._label_publisher = self.create_publisher(
            String, "fl/perception/label", reliable_qos(depth)
        )
        self._path_publisher = self.create_publisher(String, "fl/perception/model_path", LATCHED)
        self._image_publisher = self.create_publisher(
            Image, "fl/perception/image", reliable_qos(2)
        )
        self._swap_condition = self.create_guard_condition(self._swap)
        self._loader = ModelLoader(
            self._take_loaded, self._report_failed, self._settings.num_threads
        )
        self.create_subscription(String, "fl/model_path", self._on_model_path, LATCHED)
        self._camera = CameraSubscription(self, self._settings.image_topic, self._on_frame, depth)
        if self._settings.model_path:
            self._loader.request(str(expand_path(self._settings.model_path)))
        else:
            self.get_logger().info("waiting for a model on fl/model_path")

    def destroy_node(self) -> None:
        """End the loader and log how many frames were labelled."""
        self._loader.stop()
        self.get_logger().info(
            f"labelled {self._labelled} frames; {self._unclassified} could not be classified, "
            f"{self._without_model} came before the first model"
        )
        super().destroy_node()

    def _on_model_path(self, message: String) -> None:
        self._loader.request(message.data)

    def _take_loaded(self, path: str, predictor: Predictor) -> None:
        """Hand a model from the loader's thread to the executor's."""
        self._loaded.append((path, predictor))
        self._swap_condition.trigger()

    def _report_failed(self, path: str, error: ModelError) -> None:
        kept = "no model is in use"
        if self._predictor is not None:
            kept = f"{self._predictor.version} stays in use"
        self.get_logger().error(f"the model at {path!r} was not taken: {error}; {kept}")

    def _swap(self) -> None:
        """Use the model that was loaded last; the executor calls this between two frames."""
        while self._loaded:
            path, self._predictor = self._loaded.popleft()
            self._path_publisher.publish(String(data=path))
            self.get_logger().info(
                f"model {self._predictor.version} is in use "
                f"({len(self._predictor.classes)} classes, {path})"
            )

    def _on_frame(self, frame: Frame) -> None:
        """Classify one frame."""
        if self._predictor is None:
            self._without_model += 1
            return
        try:
            image = decode_frame(frame)
            prediction = self._predictor.predict(image)
        except FlRobotError as error:
            self._unclassified += 1
            if str(error) != self._last_error:  # A camera repeats its error 30 times a second.
                self._last_error = str(error)
                self.get_logger().error(f"a frame of {frame.topic} was not classified: {error}")
            return
        sure = prediction.confidence >= self._settings.min_confidence
        self._label_publisher.publish(String(data=prediction.label if sure else ""))
        self._labelled += 1
        if self._image_publisher.get_subscription_count() > 0:
            annotated = draw_prediction(image, prediction)
            self._image_publisher.publish(to_image_message(annotated, frame.stamp_ns))


def main(args: Sequence[str] | None = None) -> int:
    """Run the node; return the process's exit code."""
    make_room_for_large_images()
    return run_node(COMMAND, PerceptionNode, args)


if __name__ == "__main__":
    sys.exit(main())
