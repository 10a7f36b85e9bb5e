"""config/fastdds.xml: large images of a best-effort camera arrive."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from ros_process import StartNode
from waiting import wait_until

from fl_robot_ros.dataset.dataset import Dataset
from fl_robot_ros.paths import share_path

CAMERA = """
import array, time
import rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

rclpy.init()
camera = rclpy.create_node("camera").create_publisher(Image, "camera", qos_profile_sensor_data)
image = Image(height=480, width=640, encoding="rgb8", step=1920)
image.data = array.array("B", bytes(480 * 1920))
while not camera.get_subscription_count():
    time.sleep(0.05)
time.sleep(1.0)
for number in range(60):
    image.header.stamp.sec = number + 1
    camera.publish(image)
    time.sleep(0.05)
time.sleep(60.0)  # what is under way still arrives
"""


def test_large_images_of_a_best_effort_camera_arrive(
    start_node: StartNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_node(
        "client",
        data_dir=tmp_path,
        image_topics="[camera]",
        topic_labels="['camera: black']",
        label_settle_sec=0.0,
    )
    # Enough where the camera has it: room is made by who publishes.
    monkeypatch.setenv("FASTDDS_DEFAULT_PROFILES_FILE", str(share_path("config", "fastdds.xml")))
    with subprocess.Popen([sys.executable, "-c", CAMERA]) as camera:
        try:
            wait_until((tmp_path / "dataset" / "index.sqlite3").exists, "the dataset")
            with Dataset(tmp_path / "dataset") as dataset:
                # Without the profile, hardly one does.
                wait_until(lambda: len(dataset.samples()) >= 30, "30 of 60 images")
        finally:
            camera.kill()
