"""The topics of a bag: which have images or labels, and which of these cannot be read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from fl_robot_ros.topic_name import LABEL_TOPIC, topic_matches

IMAGE_TYPE = "sensor_msgs/msg/Image"
COMPRESSED_TYPE = "sensor_msgs/msg/CompressedImage"
STRING_TYPE = "std_msgs/msg/String"
IMAGE_TYPES = (IMAGE_TYPE, COMPRESSED_TYPE)
# Names of topics and types that are longer are damaged, or meant to fill the memory.
MAX_NAME_BYTES = 4096

_READABLE = ("cdr", "ros1")
_SHOWN_CHARACTERS = 32
# A type as ROS 1, converters and early ROS 2 name it, sensor_msgs/Image, and as DDS does,
# sensor_msgs::msg::dds_::Image_.
_SHORT_NAME = re.compile(r"([A-Za-z]\w*)/([A-Za-z]\w*)")
_DDS_NAME = re.compile(r"([A-Za-z]\w*)::msg::dds_::([A-Za-z]\w*)_")
# Images of other recorders, as foxglove.CompressedImage, and packets of videos.
_OTHER_IMAGE = re.compile(
    r"(.*[/.:])?((Raw|Compressed)?Image|CompressedVideo)|\w*image_transport\w*/msg/\w*Packet"
)


class Topic(NamedTuple):
    """A topic of a bag; one name may stand for several, with a type each.

    Attributes:
        name: Its name, as recorded.
        message_type: The type as ROS 2 writes it, for example "sensor_msgs/msg/Image"; "" where
            it is not known.
        unreadable_format: Serialization of its messages where it is neither CDR nor that of
            ROS 1, for example "json"; "" for a topic that can be read.
    """

    name: str
    message_type: str
    unreadable_format: str = ""

    @property
    def has_images(self) -> bool:
        """Whether its messages are images that can be read."""
        return self.message_type in IMAGE_TYPES and not self.unreadable_format

    @property
    def has_labels(self) -> bool:
        """Whether its messages are labels that can be read: `fl/label`, in any namespace."""
        is_text = self.message_type == STRING_TYPE and not self.unreadable_format
        return is_text and self.has_label_name

    @property
    def has_label_name(self) -> bool:
        """Whether it is named like a topic of labels."""
        return topic_matches(self.name, (LABEL_TOPIC,))

    @property
    def type_text(self) -> str:
        """Its type for people, such as "foxglove.RawImage as 'protobuf'"."""
        suffix = f" as '{self.unreadable_format}'" if self.unreadable_format else ""
        return self.message_type + suffix


# Chooses topics.
Wanted = Callable[[Topic], bool]
# Number of messages by topic.
TopicCounts = dict[Topic, int]


def topic_of(name: str, message_type: str, serialization: str) -> Topic:
    """Return a topic.

    Args:
        name: Its name.
        message_type: Its type by any of the names that are in use, as sensor_msgs/Image.
        serialization: How its messages are serialized, for example "cdr".
    """
    match = _SHORT_NAME.fullmatch(message_type) or _DDS_NAME.fullmatch(message_type)
    ros2_type = f"{match[1]}/msg/{match[2]}" if match else message_type
    is_readable = serialization in _READABLE
    return Topic(name, ros2_type, "" if is_readable else serialization[:_SHOWN_CHARACTERS] or "?")


def unreadable_topics(topics: Iterable[Topic]) -> dict[str, str]:
    """Return the names of topics whose images or labels cannot be read, each with the reason."""
    lines = {}
    for topic in sorted(topics):
        name, message_type, _ = topic
        if topic.has_images or topic.has_labels:
            continue
        if topic.has_label_name and message_type != STRING_TYPE:
            kind = topic.type_text or "of no type"
            lines[name] = f"{name} is {kind}, and not read: labels are {STRING_TYPE}"
        elif (
            topic.has_label_name
            or message_type in IMAGE_TYPES
            or _OTHER_IMAGE.fullmatch(message_type)
        ):
            lines[name] = f"{name} is {topic.type_text}, which cannot be read"
        elif not topic.type_text:
            lines[name] = f"{name} has no type, and cannot be read"
    return lines
