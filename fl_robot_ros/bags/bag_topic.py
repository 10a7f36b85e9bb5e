"""The topics of a bag: those with images or labels, and which of them are unreadable."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from fl_robot_ros.topic_name import LABEL_TOPIC, topic_matches

IMAGE_TYPE = "sensor_msgs/msg/Image"
COMPRESSED_TYPE = "sensor_msgs/msg/CompressedImage"
STRING_TYPE = "std_msgs/msg/String"
IMAGE_TYPES = (IMAGE_TYPE, COMPRESSED_TYPE)
# Longer names of topics and types are damage, or an attack on the memory.
MAX_NAME_BYTES = 4096

_READABLE = ("cdr", "ros1")
_SHOWN_CHARACTERS = 32
# ROS 1, converters and early ROS 2 write sensor_msgs/Image; DDS writes
# sensor_msgs::msg::dds_::Image_.
_SHORT_NAME = re.compile(r"([A-Za-z]\w*)/([A-Za-z]\w*)")
_DDS_NAME = re.compile(r"([A-Za-z]\w*)::msg::dds_::([A-Za-z]\w*)_")
# Images of other recorders, for example foxglove.CompressedImage, and video packets.
_OTHER_IMAGE = re.compile(
    r"(.*[/.:])?((Raw|Compressed)?Image|CompressedVideo)|\w*image_transport\w*/msg/\w*Packet"
)


class Topic(NamedTuple):
    """A topic of a bag; topics of different types may share a name.

    Attributes:
        name: Its name, as recorded.
        message_type: Its type in the spelling of ROS 2, for example "sensor_msgs/msg/Image"; "":
            unknown.
        unreadable_format: Serialization that this package cannot read, for example "json"; "" for
            CDR and the serialization of ROS 1.
    """

    name: str
    message_type: str
    unreadable_format: str = ""

    @property
    def has_images(self) -> bool:
        """Whether its messages are readable images."""
        return self.message_type in IMAGE_TYPES and not self.unreadable_format

    @property
    def has_labels(self) -> bool:
        """Whether its messages are readable labels: `fl/label`, in any namespace."""
        is_text = self.message_type == STRING_TYPE and not self.unreadable_format
        return is_text and self.has_label_name

    @property
    def has_label_name(self) -> bool:
        """Whether it has the name of a label topic."""
        return topic_matches(self.name, (LABEL_TOPIC,))

    @property
    def type_text(self) -> str:
        """Its type for messages to people, for example "foxglove.RawImage as 'protobuf'"."""
        suffix = f" as '{self.unreadable_format}'" if self.unreadable_format else ""
        return self.message_type + suffix


# Chooses topics.
Wanted = Callable[[Topic], bool]
# Number of messages by topic.
TopicCounts = dict[Topic, int]


def topic_of(name: str, message_type: str, serialization: str) -> Topic:
    """Return a topic, its type in the spelling of ROS 2.

    Args:
        name: Its name.
        message_type: Its type in any spelling, for example sensor_msgs/Image.
        serialization: How its messages are serialized, for example "cdr".
    """
    match = _SHORT_NAME.fullmatch(message_type) or _DDS_NAME.fullmatch(message_type)
    ros2_type = f"{match[1]}/msg/{match[2]}" if match else message_type
    is_readable = serialization in _READABLE
    return Topic(name, ros2_type, "" if is_readable else serialization[:_SHOWN_CHARACTERS] or "?")


def unreadable_topics(topics: Iterable[Topic]) -> dict[str, str]:
    """Return the reason for each topic, by name, whose images or labels cannot be read."""
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
