"""A rosbag as a source: its image and label messages, as they were recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from fl_robot_ros.bags.bag_files import Unpacker, find_bag_files
from fl_robot_ros.bags.bag_message import (
    IMAGE_TYPES,
    LabelMessage,
    MessageReader,
    is_image,
    is_label,
    left_out,
    wrong_time,
)
from fl_robot_ros.bags.camera_choice import Topic, describe_other, other_topics
from fl_robot_ros.bags.recorded_message import RecordedMessage, TopicCounts, is_time
from fl_robot_ros.errors import BagError, SourceError
from fl_robot_ros.name_list import name_list
from fl_robot_ros.playback.source_item import Item, RecordedImage, RecordedLabel

if TYPE_CHECKING:
    from fl_robot_ros.bags.bag_storage import StorageFile

_NS_PER_SEC = 1e9


class BagSource:
    """The image and label messages of a rosbag, serialized as ROS 2 does.

    Nothing else is read: a recorded /cmd_vel must not move a robot. Of a damaged bag, what is
    readable is yielded.
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
        self.skipped: list[str] = []
        self._unpacker = Unpacker()
        try:
            self._files = self._open_files()
            topics: TopicCounts = Counter()
            for file in self._files:
                topics.update(_topics_of(file))
        except (BagError, OSError) as error:
            self.close()
            raise SourceError(f"{path} cannot be read as a rosbag: {error}") from error
        self._others = _other_types(topics)
        self.skipped += [describe_other(*pair) for pair in self._others.items()]
        self.image_types = {
            name.lstrip("/"): kind
            for name, kind in topics
            if kind in IMAGE_TYPES and (name, kind) not in self._others
        }
        labels = {name.lstrip("/") for name, kind in topics if is_label(name, kind)}
        self.label_topics = tuple(sorted(labels))
        unreadable = list(left_out(topics).values())
        self.skipped += unreadable
        if not self.image_types:
            self.close()
            names = name_list(sorted(name for name, _ in topics)) or "none"
            losses = [*unreadable, *self._damage()]
            raise SourceError(
                "; ".join([f"{path} has no image topic; its topics are: {names}", *losses])
            )
        self.description = f"rosbag {path} with {name_list(sorted(self.image_types))}" + (
            f", labels on {name_list(self.label_topics)}" if labels else ""
        )

    def items(self) -> Iterator[Item]:
        """Yield every image and label in the order of recording.

        Raises:
            SourceError: The bag cannot be read, or no image in it can.
        """
        reader = MessageReader()
        images = 0
        start_ns: int | None = None
        for message in self._messages():
            if not is_time(message.recorded_ns):
                # It would be waited for, perhaps for centuries.
                self.skipped.append(wrong_time(message))
                continue
            start_ns = message.recorded_ns if start_ns is None else start_ns
            due_sec = (message.recorded_ns - start_ns) / _NS_PER_SEC
            topic = message.topic.lstrip("/")
            try:
                if message.message_type in IMAGE_TYPES:
                    yield RecordedImage(topic, reader.cdr(message), due_sec)
                    images += 1
                    continue
                content = reader.read(message)
            except BagError as error:
                self.skipped.append(str(error))
                continue
            if isinstance(content, LabelMessage):
                yield RecordedLabel(topic, content.label, due_sec)
        damage = self._damage()
        self.skipped += [line for line in damage if line not in self.skipped]
        if not images:
            raise SourceError(
                "; ".join([f"{self._path} has image topics and yields no image", *damage])
            )

    def close(self) -> None:
        """Remove what was unpacked; the bag's files are open only while they are read."""
        self._unpacker.close()

    def _open_files(self) -> list[StorageFile]:
        bag = find_bag_files(self._path)
        self.skipped += bag.losses
        return list(bag.open_files(self._unpacker))

    def _damage(self) -> list[str]:
        return [
            f"{file.name}: {file.salvage.damage}" for file in self._files if file.salvage.damage
        ]

    def _messages(self) -> Iterator[RecordedMessage]:
        try:
            for file in self._files:
                yield from file.messages(self._is_played)
        except OSError as error:
            raise SourceError(f"{self._path} cannot be read: {error.strerror}") from error

    def _is_played(self, topic: str, message_type: str) -> bool:
        is_image_played = (
            is_image(topic, message_type) and (topic, message_type) not in self._others
        )
        return is_image_played or is_label(topic, message_type)


def _topics_of(file: StorageFile) -> TopicCounts:
    """Return the number of messages by topic and type; all of a damaged file is read for that."""
    if file.topics is not None:
        return file.topics
    topics: TopicCounts = Counter()

    def look(topic: str, message_type: str) -> bool:
        topics[topic, message_type] += 1
        return False

    for _ in file.messages(look):
        pass
    return topics


def _other_types(topics: TopicCounts) -> dict[Topic, Topic]:
    """Return the images that are not played because their topic has others, of another type.

    ROS would take neither.
    """
    others: dict[Topic, Topic] = {}
    for name in {topic for topic, _ in topics}:
        # Of compressed files, nobody knows how many messages they have.
        types = {key: max(1, topics[key]) for key in topics if key[0] == name and is_image(*key)}
        others.update(other_topics(types))
    return others
