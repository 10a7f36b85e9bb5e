"""The examples, run as their users run them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_process import NodeProcess, Peer
from sensor_msgs.msg import Image
from std_msgs.msg import String
from waiting import wait_until

from fl_robot_ros.ros.image_message import to_image_message

EXAMPLES = Path(__file__).parents[2] / "examples"
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
RED = np.full((24, 32, 3), (255, 0, 0), np.uint8)


def test_follow_model_takes_one_model_after_another(
    ros_env: dict[str, str],
    peer: Peer,
    write_version: Callable[..., Path],
    tmp_path: Path,
) -> None:
    paths = peer.publisher(String, "fl/model_path", LATCHED)
    images = peer.publisher(Image, "front/image_raw", QoSProfile(depth=10))
    damaged = write_version("v00002")
    (damaged / "model.tflite").write_bytes(b"damaged")
    # The path is published before the node is there, and as fl_client does, of model.keras.
    paths.publish(String(data=str(write_version("v00001") / "model.keras")))
    broken = to_image_message(RED, 1)
    broken.encoding = "nonsense"
    node = NodeProcess(
        str(EXAMPLES / "follow_model.py"),
        {},
        tmp_path / "follow_model.log",
        ros_env,
        ("-r", "camera/image_raw:=front/image_raw"),
    )

    def see(text: str, image: Image = to_image_message(RED, 1)) -> None:  # noqa: B008
        def seen() -> bool:
            images.publish(image)
            return text in node.output

        wait_until(seen, text)

    try:
        see("v00001: red, green, blue")
        see("red (100%)")
        see("nonsense", broken)
        paths.publish(String(data=str(damaged / "model.keras")))
        see("SHA-256")
        # Whole, and yet no model that runs here.
        other = write_version("v00004", classes=["one", "two"])
        paths.publish(String(data=str(other / "model.keras")))
        see("output of shape")
        newest = write_version("v00003", classes=["crimson", "green", "blue"])
        paths.publish(String(data=str(newest / "model.keras")))
        see("crimson (100%)")
        assert node.interrupt() == 0
        # Ctrl-C may meet rclpy within a constructor; Python names that, and goes on.
        own_words, _, _ = node.output.partition("Exception ignored in: <function Task.__del__")
        assert "Traceback" not in own_words
    finally:
        node.close()


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_is_short_and_keeps_to_the_public_names(path: Path) -> None:
    lines = path.read_text().splitlines()
    imports = [line.split()[1] for line in lines if line.startswith("from fl_robot_ros")]
    nodes = {"camera_subscription", "model_follower"}
    assert {*imports} <= {"fl_robot_ros.api", *(f"fl_robot_ros.ros.{name}" for name in nodes)}
    assert len(lines) <= 45
