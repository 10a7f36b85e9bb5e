"""`fl_viewer`: the page shows each frame with its own result."""

from __future__ import annotations

import http.client
import re
from collections.abc import Callable
from urllib.parse import urlsplit

import cv2
import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from numpy.typing import NDArray
from rclpy.qos import QoSProfile
from ros_process import NodeProcess, Peer
from sensor_msgs.msg import Image
from waiting import wait_until

from fl_robot_ros.ros.image_message import to_image_message

StartNode = Callable[..., NodeProcess]
DEEP = QoSProfile(depth=100)


class Stream:
    """A browser's view of the page."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._connection = http.client.HTTPConnection(
            address.hostname or "", address.port, timeout=60
        )
        self._connection.request("GET", "/stream")
        self._reply = self._connection.getresponse()

    def image(self) -> NDArray[np.uint8]:
        """Return the next image, uint8 (H, W, 3), BGR."""
        for _ in range(2):
            self._reply.readline()
        length = int(self._reply.readline().partition(b": ")[2])
        self._reply.readline()
        data = np.frombuffer(self._reply.read(length), np.uint8)
        self._reply.readline()
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)

    def close(self) -> None:
        self._connection.close()


def result(message: Image, label: str) -> DiagnosticArray:
    values = {"label": label, "confidence": "0.9", "model_version": "v00007"}
    status = DiagnosticStatus(
        message=label, values=[KeyValue(key=key, value=value) for key, value in values.items()]
    )
    return DiagnosticArray(header=message.header, status=[status])


def test_frames_are_shown_with_their_results_and_alone_where_none_come(
    start_node: StartNode, peer: Peer
) -> None:
    images = peer.publisher(Image, "/robot1/camera/image_raw", DEEP)
    results = peer.publisher(DiagnosticArray, "/robot1/fl/perception/result", DEEP)
    node = start_node("viewer", ("-r", "__ns:=/robot1"), window="false")
    node.wait_for_output("the page is http://127.0.0.1:")
    [url] = re.findall(r"the page is (\S+)", node.output)
    wait_until(
        lambda: images.get_subscription_count() and results.get_subscription_count(),
        "the viewer subscribes",
    )
    stream = Stream(url)
    stamp_ns = 1_700_000_000_000_000_000

    def shows(value: int, *, has_result: bool) -> bool:
        nonlocal stamp_ns
        stamp_ns += 1_000_000
        message = to_image_message(np.full((48, 64, 3), value, np.uint8), stamp_ns)
        images.publish(message)
        if has_result:
            results.publish(result(message, "cup"))
        seen = stream.image()
        # The green line over the label is as long as the confidence.
        _, green, red = seen[-25, 20].astype(int)
        is_of_frame = seen.shape[:2] == (240, 320) and abs(int(seen[120, 160, 0]) - value) < 4
        return is_of_frame and (green > red + 30) == has_result

    wait_until(lambda: shows(90, has_result=False), "frames without results")
    wait_until(lambda: shows(200, has_result=True), "frames with results")
    # A browser that watches on holds nothing up.
    assert node.interrupt() == 0
    stream.close()
