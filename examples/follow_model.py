"""A perception node of your own: takes each model of the fleet, and labels the images of a camera.

python3 follow_model.py --ros-args -r camera/image_raw:=front/image_raw
"""

from pathlib import Path

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node

from fl_robot_ros.api import FlRobotError, Frame, Manifest, Predictor, decode_frame
from fl_robot_ros.ros.camera_subscription import CameraSubscription
from fl_robot_ros.ros.model_follower import ModelFollower


class FollowModel(Node):
    def __init__(self) -> None:
        super().__init__("follow_model")
        self.predictor: Predictor | None = None
        self.follower = ModelFollower(self, self.on_model)
        self.camera = CameraSubscription(self, "camera/image_raw", self.on_frame, depth=5)

    def on_model(self, manifest: Manifest, path: Path) -> None:
        self.predictor = Predictor(path)
        self.get_logger().info(f"{manifest.version}: {', '.join(manifest.classes)}")

    def on_frame(self, frame: Frame) -> None:
        if self.predictor is None:
            return
        try:
            prediction = self.predictor.predict(decode_frame(frame))
            self.get_logger().info(f"{prediction.label} ({prediction.confidence:.0%})")
        except FlRobotError as error:
            self.get_logger().error(f"the frame is invalid: {error}")


if __name__ == "__main__":
    rclpy.init()
    try:
        rclpy.spin(FollowModel())
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
