"""A rosbag as a source: its recorded image and label messages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from fl_robot_ros.bags.bag import open_storage
from fl_robot_ros.bags.bag_files import find_bag_files
from fl_robot_ros.bags.bag_message import LabelMessage, cdr_of, read_message, wrong_time
from fl_robot_ros.bags.bag_topic import Topic, TopicCounts, unreadable_topics
from fl_robot_ros.bags.camera_choice import describe_other, other_topics
from fl_robot_ros.bags.storage import RecordedMessage, is_time
from fl_robot_ros.errors import BagError, SourceError
from fl_robot_ros.name_list import name_list
from fl_robot_ros.playback.source import Item, RecordedImage, RecordedLabel

_NS_PER_SEC = 1e9


class BagSource:
    """The image and label messages of a rosbag, in the serialization of ROS 2.

    No other topic is played: a recorded /cmd_vel must not move a robot. Of a damaged bag, the
    readable messages are played.
    """

    is_live = False

    def __init__(self, path: Path) -> None:
        """Open the bag.

        Args:
            path: Its folder, or one .mcap, .db3 or .bag file.

        Raises:
            SourceError: The bag cannot be read, or has no image topic.
        """
        self._path = path
        try:
            self._storage = open_storage(find_bag_files(path))
        except (BagError, OSError) as error:
            raise SourceError(f"{path} cannot be read as a rosbag: {error}") from error
        with ExitStack() as opened:
            opened.callback(self.close)
            try:
                topics = self._storage.read_topics()
            except OSError as error:
                raise SourceError(f"{path} cannot be read as a rosbag: {error}") from error
            self._others = _other_types(topics)
            unreadable = list(unreadable_topics(topics).values())
            self.skipped = [
                *(describe_other(*pair) for pair in self._others.items()),
                *unreadable,
                *self._storage.losses(),
            ]
            self.image_types = {
                topic.name.lstrip("/"): topic.message_type
                for topic in topics
                if topic.has_images and topic not in self._others
            }
            labels = {topic.name.lstrip("/") for topic in topics if topic.has_labels}
            self.label_topics = tuple(sorted(labels))
            if not self.image_types:
                names = name_list(sorted(topic.name for topic in topics)) or "none"
                text = f"{path} has no image topic; its topics are: {names}"
                raise SourceError("; ".join([text, *unreadable, *self._storage.losses()]))
            opened.pop_all()
        self.description = f"rosbag {path} with {name_list(sorted(self.image_types))}" + (
            f", labels on {name_list(self.label_topics)}" if labels else ""
        )

    def items(self) -> Iterator[Item]:
        """Yield every image and label in the order of recording.

        Raises:
            SourceError: The bag, or every image in it, is unreadable.
        """
        images = 0
        start_ns: int | None = None
        for message in self._messages():
            if not is_time(message.recorded_ns):
                # The player would wait for this time, perhaps for centuries.
                self.skipped.append(wrong_time(message))
                continue
            start_ns = message.recorded_ns if start_ns is None else start_ns
            due_sec = (message.recorded_ns - start_ns) / _NS_PER_SEC
            topic = message.topic.name.lstrip("/")
            try:
                if message.topic.has_images:
                    yield RecordedImage(topic, cdr_of(message), due_sec)
                    images += 1
                    continue
                content = read_message(message)
            except BagError as error:
                self.skipped.append(str(error))
                continue
            if isinstance(content, LabelMessage):
                yield RecordedLabel(topic, content.label, due_sec)
        losses = self._storage.losses()
        self.skipped += [line for line in losses if line not in self.skipped]
        if not images:
            raise SourceError(
                "; ".join([f"{self._path} has image topics and yields no image", *losses])
            )

    def close(self) -> None:
        """Remove unpacked files; the bag's files are open only while they are read."""
        self._storage.close()

    def _messages(self) -> Iterator[RecordedMessage]:
        try:
            yield from self._storage.messages(self._is_played)
        except OSError as error:
            raise SourceError(f"{self._path} cannot be read: {error.strerror}") from error

    def _is_played(self, topic: Topic) -> bool:
        return topic.has_labels or (topic.has_images and topic not in self._others)


def _other_types(topics: TopicCounts) -> dict[Topic, Topic]:
    """Return the topics that are skipped because another type is played under their name.

    In ROS, subscribers of a topic with two types receive nothing.
    """
    others: dict[Topic, Topic] = {}
    for name in {topic.name for topic in topics}:
        # Compressed files do not tell their number of messages.
        types = {
            topic: max(1, topics[topic])
            for topic in topics
            if topic.name == name and topic.has_images
        }
        others.update(other_topics(types))
    return others
