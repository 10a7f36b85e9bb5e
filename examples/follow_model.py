"""A perception node of your own: takes each model of the fleet, and labels the images of a camera.

python3 follow_model.py --ros-args -r camera/image_raw:=front/image_raw
"""

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import String

from fl_robot_ros.api import FlRobotError, Frame, Predictor, decode_frame
from fl_robot_ros.ros.camera_subscription import CameraSubscription


class FollowModel(Node):
    def __init__(self) -> None:
        super().__init__("follow_model")
        self.predictor: Predictor | None = None
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.create_subscription(String, "fl/model_path", self.on_model_path, latched)
        self.camera = CameraSubscription(self, "camera/image_raw", self.on_frame, depth=5)

    def on_model_path(self, message: String) -> None:
        try:
            self.predictor = Predictor(message.data)  # Checks the SHA-256 of the model first.
        except FlRobotError as error:
            self.get_logger().error(f"the model in use stays: {error}")

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
