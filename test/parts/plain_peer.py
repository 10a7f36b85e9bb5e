"""Another program on the network, with ROS' plain defaults; run as `python plain_peer.py TASK`.

It prints what it saw as one line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import Image
from std_msgs.msg import String
from std_srvs.srv import SetBool

FRAMES = 30
_WIDTH, _HEIGHT = 640, 480
_DEADLINE_SEC = 60.0
_ARRIVED = ("kept", "review", "sampled_out", "unlabelled", "queue_full")


def spin_until(node: Node, is_done: Callable[[], object]) -> None:
    """Spin until something is so, or the deadline is over."""
    deadline = time.monotonic() + _DEADLINE_SEC
    while not is_done() and time.monotonic() < deadline:
        rclpy.spin_once(node, timeout_sec=0.05)


def meet_client(node: Node) -> dict[str, Any]:
    """Find `fl_client`, call it, hear its status and send it a reliable camera's frames."""
    seen: dict[str, Any] = {"status": "", "arrived": None}

    def on_status(message: DiagnosticStatus) -> None:
        seen["status"] = message.message

    def on_diagnostics(message: DiagnosticArray) -> None:
        [capture] = [part for part in message.status if part.name.endswith("capture")]
        values = {value.key: value.value for value in capture.values}
        seen["arrived"] = sum(int(values.get(name, 0)) for name in _ARRIVED)

    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    node.create_subscription(DiagnosticStatus, "fl/status", on_status, latched)
    node.create_subscription(DiagnosticArray, "/diagnostics", on_diagnostics, 10)
    camera = node.create_publisher(Image, "camera/image_raw", 10)
    service = node.create_client(SetBool, "fl/set_capture")
    spin_until(node, lambda: "fl_client" in node.get_node_names() and service.service_is_ready())
    seen["nodes"] = node.get_node_names()
    reply = service.call_async(SetBool.Request(data=True))
    spin_until(node, lambda: reply.done() and seen["status"])
    seen["reply"] = reply.done() and reply.result().message
    spin_until(node, lambda: camera.get_subscription_count() and seen["arrived"] is not None)
    before = seen["arrived"] or 0
    for _ in range(FRAMES):
        message = Image(width=_WIDTH, height=_HEIGHT, step=3 * _WIDTH, encoding="rgb8")
        message.data = bytes(3 * _WIDTH * _HEIGHT)
        message.header.stamp = node.get_clock().now().to_msg()
        camera.publish(message)
        rclpy.spin_once(node, timeout_sec=0)
        time.sleep(1 / 30)
    spin_until(node, lambda: (seen["arrived"] or 0) >= before + FRAMES)
    return {**seen, "arrived": (seen["arrived"] or 0) - before}


def hear_streamer(node: Node) -> dict[str, Any]:
    """Count the frames that `fl_streamer` sends to a best-effort subscriber, until it ends."""
    frames: list[int] = []
    node.create_subscription(
        Image, "camera/image_raw", lambda m: frames.append(len(m.data)), qos_profile_sensor_data
    )
    # The streamer waits for a subscriber of its labels.
    node.create_subscription(String, "fl/label", lambda m: None, 10)
    spin_until(node, lambda: frames)
    spin_until(node, lambda: not node.count_publishers("camera/image_raw"))
    return {"frames": len(frames)}


if __name__ == "__main__":
    rclpy.init()
    task = {"client": meet_client, "streamer": hear_streamer}[sys.argv[1]]
    print(json.dumps(task(rclpy.create_node("plain_peer"))), flush=True)
