"""The names that a node, script or notebook of your own may rely on, as in docs/python-api.md.

Where rclpy is, two more belong to them: `fl_robot_ros.ros.camera_subscription.CameraSubscription`
and `fl_robot_ros.ros.model_follower.ModelFollower`.
"""

from __future__ import annotations

from fl_robot_ros.bags.bag import LabelMessage, open_bag
from fl_robot_ros.capture.labelled_bag import LabelledBag
from fl_robot_ros.dataset.dataset import Dataset
from fl_robot_ros.dataset.sample import Sample
from fl_robot_ros.dataset.snapshot import Snapshot, load_snapshot
from fl_robot_ros.delivery.manifest import Manifest
from fl_robot_ros.delivery.predictor import Prediction, Predictor
from fl_robot_ros.errors import FlRobotError
from fl_robot_ros.images.decode import decode_frame
from fl_robot_ros.images.frame import CompressedFrame, Frame, RawFrame

__all__ = [
    "CompressedFrame",
    "Dataset",
    "FlRobotError",
    "Frame",
    "LabelMessage",
    "LabelledBag",
    "Manifest",
    "Prediction",
    "Predictor",
    "RawFrame",
    "Sample",
    "Snapshot",
    "decode_frame",
    "load_snapshot",
    "open_bag",
]
