"""`fl_streamer`: publishes a camera, a folder of images, a video or a rosbag."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable, Sequence

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.task import Future
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String

from fl_robot_ros.config import StreamerSettings
from fl_robot_ros.errors import FlRobotError
from fl_robot_ros.name_list import name_list
from fl_robot_ros.playback.source import Item, RecordedImage, RecordedLabel, StreamedImage
from fl_robot_ros.playback.source_choice import open_source
from fl_robot_ros.ros.command_line import NodeCommand
from fl_robot_ros.ros.image_message import to_compressed_message, to_image_message
from fl_robot_ros.ros.lifetime import run_node
from fl_robot_ros.ros.qos import COMPRESSED_TYPE, IMAGE_TYPE, reliable_qos
from fl_robot_ros.ros.settings import declare_settings
from fl_robot_ros.ros.topic_names import full_topic_name
from fl_robot_ros.ros.transports import make_room_for_large_images
from fl_robot_ros.topic_name import LABEL_TOPIC

_MESSAGE_CLASSES = {IMAGE_TYPE: Image, COMPRESSED_TYPE: CompressedImage}
_QUEUE_DEPTH = 20
# Fast DDS asks for acknowledgements every 3 s, and sooner only when much data is under way.
_LAST_ACKNOWLEDGE_SEC = 6.0
# So a stream of large images waits for acknowledgements before the queue of the publisher is
# full: a full queue drops its oldest message. 640x480 rgb8 at 200 Hz: 20 ms for 10 frames, 300 of
# 300 arrived; without waiting, 141 to 289 did.
_ACKNOWLEDGE_EVERY = 10
_ACKNOWLEDGE_SEC = 1.0
_LARGE_BYTES = 65536
_IMPATIENT_SEC = 10.0
# Three times the interval at which a `CameraSubscription` looks for publishers.
_LATECOMER_SEC = 1.5
# DDS announces an endpoint again after 3 s where the first announcement was lost.
_LABEL_GRACE_SEC = 4.0
_POLL_SEC = 0.02
_LABEL_EVERY_SEC = 1.0
_RESTART_CLOCK_SEC = 1.0

COMMAND = NodeCommand(
    "fl_streamer",
    "Publishes a camera, a folder of images, a video or a rosbag, with their labels.",
    StreamerSettings,
    topics=(
        (
            "image_topic",
            "sensor_msgs Image or CompressedImage",
            "The frames; a rosbag keeps its names.",
        ),
        ("fl/label", "std_msgs/String", "The label of the frames that follow."),
    ),
)


class StreamerNode(Node):  # type: ignore[misc]
    """Publishes one source from a thread, while the executor serves the parameters.

    Attributes:
        finished: Completed with the exit code when the stream has ended.
    """

    def __init__(self) -> None:
        """Declare the parameters, open the source and start.

        Raises:
            SettingError: A parameter or the name of a topic is invalid.
            SourceError: The source cannot be opened.
        """
        super().__init__("fl_streamer")
        self._settings = declare_settings(self, StreamerSettings)
        self._source = open_source(self._settings.source, self._settings.rate_hz)
        # A label of the user's own replaces the recorded ones.
        self._own_label = self._settings.label
        recorded = () if self._own_label else self._source.label_topics
        types = self._source.image_types or {
            self._settings.image_topic: COMPRESSED_TYPE
            if self._settings.compressed
            else IMAGE_TYPE
        }
        for topic in types:
            full_topic_name(self, topic)  # Raises SettingError for an invalid name.
        self._label_publishers: dict[str, Publisher] = {
            topic: self.create_publisher(String, topic, reliable_qos(_QUEUE_DEPTH))
            for topic in recorded or (LABEL_TOPIC,)
        }
        self._image_publishers: dict[str, Publisher] = {
            topic: self.create_publisher(
                _MESSAGE_CLASSES[type_name], topic, reliable_qos(_QUEUE_DEPTH)
            )
            for topic, type_name in types.items()
        }
        self._labels: dict[str, str] = {}
        self._labels_published_at = 0.0
        self._sent = 0
        self._impatient_until = 0.0
        self._skipped_reported = 0
        self.finished = Future()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stream", daemon=True)
        self._thread.start()

    def destroy_node(self) -> None:
        """Stop streaming and close the source."""
        self._stop.set()
        self._thread.join()
        self._source.close()
        super().destroy_node()

    def _run(self) -> None:
        """Stream the source; the body of the thread."""
        exit_code = 0
        self.get_logger().info(f"streaming {self._source.description}")
        try:
            self._wait_for_subscribers()
            self._stream()
            self._end_labels()
            everything = (*self._label_publishers.values(), *self._image_publishers.values())
            self._wait_until_acknowledged(everything, _LAST_ACKNOWLEDGE_SEC)
        except FlRobotError as error:
            self.get_logger().error(str(error))
            exit_code = 1
        except Exception:
            # After a signal, ROS refuses to publish in the middle of a frame.
            if self.context.ok() and not self._stop.is_set():
                self.finished.set_result(1)
                raise
        finally:
            self.get_logger().info(f"sent {self._sent} frames")
            if not self.finished.done():
                self.finished.set_result(exit_code)

    def _is_stopping(self) -> bool:
        return self._stop.is_set() or not self.context.ok()

    def _wait_for_subscribers(self) -> None:
        """Wait until every image topic has a subscriber, or until the timeout.

        A node that subscribes to images may subscribe to labels too; since its second subscription
        may become known a moment later, the label topics get a few seconds more.
        """
        end = time.monotonic() + self._settings.wait_for_subscriber_sec
        while not self._is_stopping():
            unheard = [
                topic
                for topic, publisher in self._image_publishers.items()
                if publisher.get_subscription_count() == 0
            ]
            if not unheard:
                self._wait_for_more_subscribers(end)
                self._wait_for_label_subscriber(min(end, time.monotonic() + _LABEL_GRACE_SEC))
                return
            if time.monotonic() >= end:
                if self._settings.wait_for_subscriber_sec > 0:
                    self.get_logger().warning(f"nobody subscribes to {name_list(unheard)}")
                return
            self._stop.wait(_POLL_SEC)

    def _wait_for_more_subscribers(self, end: float) -> None:
        """Wait until no subscriber has come for a while, or until a time.monotonic().

        Nodes that poll the graph, as `fl_client` does, subscribe later than others.
        """
        known, since = 0, time.monotonic()
        while not self._is_stopping() and time.monotonic() < min(end, since + _LATECOMER_SEC):
            count = sum(p.get_subscription_count() for p in self._image_publishers.values())
            if count != known:
                known, since = count, time.monotonic()
            self._stop.wait(_POLL_SEC)

    def _wait_for_label_subscriber(self, end: float) -> None:
        """Wait until every label topic has a subscriber, or until a time.monotonic()."""
        while not self._is_stopping() and time.monotonic() < end:
            if all(p.get_subscription_count() for p in self._label_publishers.values()):
                return
            self._stop.wait(_POLL_SEC)

    def _stream(self) -> None:
        """Publish every item of the source when it is due."""
        while not self._is_stopping():
            clock = _Pace(self._settings.rate_hz, self._settings.playback_speed)
            for item in self._source.items():
                if not self._source.is_live:
                    self._sleep_until(clock.due(item))
                if self._is_stopping():
                    return
                self._publish(item)
                self._report_skipped()
            self._report_skipped()
            if not self._settings.loop:
                return

    def _sleep_until(self, due: float) -> None:
        """Wait for the time of time.monotonic(); repeat the labels once a second meanwhile."""
        while not self._is_stopping():
            self._repeat_labels()
            left = due - time.monotonic()
            if left <= 0:
                return
            self._stop.wait(min(left, 0.25))

    def _publish(self, item: Item) -> None:
        """Publish one item, its label first."""
        if isinstance(item, RecordedLabel):
            if not self._own_label:
                self._publish_label(item.topic, item.label)
            return
        own = self._own_label or (item.label if isinstance(item, StreamedImage) else None)
        if own is not None and own != self._labels.get(LABEL_TOPIC):
            self._publish_label(LABEL_TOPIC, own)
        self._repeat_labels()
        if isinstance(item, RecordedImage):
            self._image_publishers[item.topic].publish(item.message)
            size_bytes = len(item.message)
        else:
            size_bytes = self._publish_image(item)
        self._sent += 1
        if (
            size_bytes >= _LARGE_BYTES
            and self._sent % _ACKNOWLEDGE_EVERY == 0
            and time.monotonic() >= self._impatient_until
            and not self._wait_until_acknowledged(
                self._image_publishers.values(), _ACKNOWLEDGE_SEC
            )
        ):
            # One subscriber that hangs must not slow the stream for all others.
            self._impatient_until = time.monotonic() + _IMPATIENT_SEC

    def _publish_image(self, item: StreamedImage) -> int:
        """Publish an image; return the size of its data in bytes."""
        stamp_ns = time.time_ns()
        message: Image | CompressedImage
        if self._settings.compressed:
            quality = self._settings.jpeg_quality
            message = to_compressed_message(item.image, stamp_ns, "camera", jpeg_quality=quality)
        else:
            message = to_image_message(item.image, stamp_ns, "camera")
        self._image_publishers[self._settings.image_topic].publish(message)
        return len(message.data)

    def _publish_label(self, topic: str, label: str) -> None:
        self._label_publishers[topic].publish(String(data=label))
        self._labels[topic] = label
        self._labels_published_at = time.monotonic()

    def _repeat_labels(self) -> None:
        """Publish the labels again when a second has passed, for late subscribers."""
        if self._labels and time.monotonic() - self._labels_published_at >= _LABEL_EVERY_SEC:
            for topic, label in self._labels.items():
                self._publish_label(topic, label)

    def _end_labels(self) -> None:
        """End a label that this node set, or it would apply to another camera's frames."""
        if self._labels.get(LABEL_TOPIC) and not self._source.image_types:
            self._publish_label(LABEL_TOPIC, "")

    def _wait_until_acknowledged(
        self, publishers: Iterable[Publisher], timeout_sec: float
    ) -> bool:
        """Wait until reliable subscribers acknowledged every message; return whether they did."""
        end = time.monotonic() + timeout_sec
        for publisher in publishers:
            # In short steps, because rclpy holds the GIL while it waits.
            while not publisher.wait_for_all_acked(Duration(seconds=_POLL_SEC)):
                if self._is_stopping():
                    return False
                if time.monotonic() >= end:
                    self.get_logger().warning(
                        f"a subscriber of {publisher.topic_name} does not keep up; "
                        "frames may be lost"
                    )
                    return False
                self._stop.wait(_POLL_SEC / 10)
        return True

    def _report_skipped(self) -> None:
        for reason in self._source.skipped[self._skipped_reported :]:
            self.get_logger().warning(f"left out: {reason}")
        self._skipped_reported = len(self._source.skipped)


class _Pace:
    """When each item of a source is due, in the time of time.monotonic()."""

    def __init__(self, rate_hz: float, speed: float) -> None:
        """Start the clock.

        Args:
            rate_hz: Frames per second; 0: the source's own times, divided by `speed`.
            speed: Seconds of the source in one second.
        """
        self._rate_hz = rate_hz
        self._speed = speed
        self._start = time.monotonic()
        self._frames = 0

    def due(self, item: Item) -> float:
        """Return when to publish the item; each image counts as one frame."""
        if self._rate_hz > 0:
            offset = self._frames / self._rate_hz
            self._frames += not isinstance(item, RecordedLabel)
        else:
            offset = item.due_sec / self._speed
        late = time.monotonic() - (self._start + offset)
        if late > _RESTART_CLOCK_SEC:  # No burst of frames after a pause.
            self._start += late
        return self._start + offset


def main(args: Sequence[str] | None = None) -> int:
    """Run the node; return the process's exit code."""
    make_room_for_large_images()
    return run_node(COMMAND, StreamerNode, args)


if __name__ == "__main__":
    sys.exit(main())
