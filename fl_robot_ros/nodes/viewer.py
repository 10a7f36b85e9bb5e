"""`fl_viewer`: shows a camera with what perception says of it, in a window or on a page."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from numpy.typing import NDArray
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.task import Future

from fl_robot_ros.config import ViewerSettings
from fl_robot_ros.errors import FrameError
from fl_robot_ros.images.decode import decode_frame
from fl_robot_ros.images.frame import Frame, frame_bytes
from fl_robot_ros.images.jpeg import encode_jpeg
from fl_robot_ros.nodes.annotation import annotated
from fl_robot_ros.nodes.matched_frames import MatchedFrames, Rate, ViewedResult
from fl_robot_ros.nodes.mjpeg_page import MjpegPage
from fl_robot_ros.nodes.view_window import ViewWindow, has_display
from fl_robot_ros.ros.camera_subscription import CameraSubscription
from fl_robot_ros.ros.command_line import NodeCommand
from fl_robot_ros.ros.lifetime import run_node
from fl_robot_ros.ros.qos import reliable_qos
from fl_robot_ros.ros.settings import declare_settings
from fl_robot_ros.ros.topic_names import full_topic_name

_JPEG_QUALITY = 85
_FRAME_DEPTH = 5
_RESULT_DEPTH = 30
# A picture that stands still says so after this time, and then as often.
_SILENCE_SEC = 1.0
# How often a window without new frames is served.
_WINDOW_SEC = 0.05
_EMPTY_PX = (480, 640)

COMMAND = NodeCommand(
    "fl_viewer",
    "Shows a camera with what fl_perception says of it, the rate of frames and results, and the "
    "age of the result: in a window where there is a display, else on a page on this machine, "
    "whose address is in the log. Several cameras take several viewers.",
    ViewerSettings,
    topics=(
        ("image_topic", "sensor_msgs Image or CompressedImage, in", "The camera."),
        (
            "result_topic",
            "diagnostic_msgs/DiagnosticArray, in",
            "The results of fl_perception, each with the stamp of its frame.",
        ),
    ),
)


@dataclass(frozen=True)
class _View:
    """What is to be shown: a frame, what was said of it, and its age then in s."""

    frame: Frame
    result: ViewedResult | None
    age_sec: float


class ViewerNode(Node):  # type: ignore[misc]
    """Shows each frame with its own result; where none come, frames as they are.

    The executor brings frames and results together, and a thread draws the newest. A window is the
    executor's too, since many libraries of windows want the main thread.

    Attributes:
        finished: Completed with the exit code when a person closes the window.
    """

    def __init__(self) -> None:
        """Declare the parameters, open window or page, and subscribe.

        Raises:
            SettingError: A parameter or the name of a topic is invalid, or the port in use.
        """
        super().__init__("fl_viewer")
        settings = declare_settings(self, ViewerSettings)
        self._topic = full_topic_name(self, settings.image_topic)
        full_topic_name(self, settings.result_topic)
        self.finished = Future()
        self._page: MjpegPage | None = None
        self._window: ViewWindow | None = None
        if settings.window and has_display():
            self._window = ViewWindow(f"fl_viewer {self._topic}")
            self.get_logger().info("a window shows the camera; q closes it")
        else:
            self._page = MjpegPage(f"fl_viewer {self._topic}", settings.page_port)
            self.get_logger().info(f"the page is {self._page.url}")
        self._matches: MatchedFrames[Frame] = MatchedFrames()
        self._frame_rate, self._result_rate = Rate(), Rate()
        self._condition = threading.Condition()
        self._view: _View | None = None
        self._drawn: NDArray[np.uint8] | None = None
        self._is_stopping = False
        self.create_subscription(
            DiagnosticArray, settings.result_topic, self._on_result, reliable_qos(_RESULT_DEPTH)
        )
        self._camera = CameraSubscription(self, settings.image_topic, self._on_frame, _FRAME_DEPTH)
        if self._window is not None:
            clock = Clock(clock_type=ClockType.STEADY_TIME)
            self.create_timer(_WINDOW_SEC, self._serve_window, clock=clock)
        self._drawn_condition = self.create_guard_condition(self._serve_window)
        self._thread = threading.Thread(target=self._run, name="viewer", daemon=True)
        self._thread.start()

    def destroy_node(self) -> None:
        """End the thread and close window or page."""
        with self._condition:
            self._is_stopping = True
            self._condition.notify()
        self._thread.join()
        if self._window is not None:
            self._window.close()
        if self._page is not None:
            self._page.close()
        super().destroy_node()

    def _on_frame(self, frame: Frame) -> None:
        self._frame_rate.count()
        size_bytes = int(frame_bytes(frame.data).size)
        match = self._matches.add_frame(frame.stamp_ns, frame, size_bytes)
        if match is not None:
            self._offer(*match)

    def _on_result(self, message: DiagnosticArray) -> None:
        if not message.status:
            return
        self._result_rate.count()
        stamp = message.header.stamp
        match = self._matches.add_result(
            int(stamp.sec) * 10**9 + int(stamp.nanosec), read_result(message)
        )
        if match is not None:
            self._offer(*match)

    def _offer(self, frame: Frame, result: ViewedResult | None) -> None:
        """Hand a view to the thread; a newer one replaces one that waits."""
        age_sec = (self.get_clock().now().nanoseconds - frame.stamp_ns) / 1e9
        with self._condition:
            self._view = _View(frame, result, age_sec)
            self._condition.notify()

    def _run(self) -> None:
        """Draw and show; the body of the thread."""
        try:
            self._show_views()
        except Exception as error:
            self.get_logger().error(f"the viewer ends: {type(error).__name__}: {error}")
            self._finish(1)

    def _show_views(self) -> None:
        image = np.full((*_EMPTY_PX, 3), 40, np.uint8)
        silent_sec = 0.0
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._is_stopping or self._view, _SILENCE_SEC)
                if self._is_stopping:
                    return
                view, self._view = self._view, None
            silent_sec = 0.0 if view else silent_sec + _SILENCE_SEC
            if self._page is not None and not self._page.is_watched:
                continue
            if view is not None:
                image = self._show_view(view, image)
            else:
                self._show(self._silent_view(image, silent_sec))

    def _show_view(self, view: _View, before: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Show a frame with its result; return the frame's image."""
        heading = f"{self._topic.lstrip('/')}   {self._frame_rate.hz():.1f} Hz"
        result = view.result
        if result is not None:
            rate = self._result_rate.hz()
            heading += f"   results {rate:.1f} Hz   age {max(0.0, view.age_sec) * 1e3:.0f} ms"
        try:
            image = decode_frame(view.frame)
        except FrameError as error:
            self._show(annotated(before, str(error), None, "", heading))
            return before
        if result is None:
            self._show(annotated(image, "no result of fl_perception for it", None, "", heading))
        else:
            text = result.label or result.reason or "no label"
            self._show(annotated(image, text, result.confidence, result.version, heading))
        return image

    def _silent_view(self, image: NDArray[np.uint8], silent_sec: float) -> NDArray[np.uint8]:
        heading = f"{self._topic.lstrip('/')}"
        if not self._camera.frames:
            return annotated(image, "waiting for the first frame", None, "", heading)
        return annotated(image // 2, f"no frame for {silent_sec:.0f} s", None, "", heading)

    def _show(self, image: NDArray[np.uint8]) -> None:
        if self._window is not None:
            self._drawn = image
            self._drawn_condition.trigger()
        elif self._page is not None:
            self._page.show(encode_jpeg(image, _JPEG_QUALITY))

    def _serve_window(self) -> None:
        if self._window is None:
            return
        image, self._drawn = self._drawn, None
        if image is not None:
            self._window.show(image)
        if self._window.is_closed():
            self._finish(0)

    def _finish(self, exit_code: int) -> None:
        if not self.finished.done():
            self.finished.set_result(exit_code)


def read_result(message: DiagnosticArray) -> ViewedResult:
    """Return the result in a message of `fl/perception/result`, which has one status."""
    status = message.status[0]
    values = {item.key: item.value for item in status.values}
    try:
        confidence: float | None = float(values["confidence"])
    except (KeyError, ValueError):
        confidence = None
    label, version = values.get("label", ""), values.get("model_version", "")
    return ViewedResult(label, confidence, version, "" if label else status.message)


def main(args: Sequence[str] | None = None) -> int:
    """Run the node; return the process's exit code."""
    return run_node(COMMAND, ViewerNode, args)


if __name__ == "__main__":
    sys.exit(main())
