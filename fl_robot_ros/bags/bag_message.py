"""Frames and labels from the serialized messages of a bag."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fl_robot_ros.bags.bag_topic import COMPRESSED_TYPE, STRING_TYPE
from fl_robot_ros.bags.storage import RecordedMessage, is_time
from fl_robot_ros.errors import BagError
from fl_robot_ros.images.frame import CompressedFrame, Frame, RawFrame

if TYPE_CHECKING:
    from rosbags.typesys.store import Typestore

_NS_PER_SEC = 1_000_000_000


@dataclass(frozen=True)
class LabelMessage:
    """A recorded label.

    Attributes:
        topic: Name of its topic, as recorded.
        label: Its text as published; "" ends the label before it.
        published_ns: When it was recorded, in ns.
    """

    topic: str
    label: str
    published_ns: int


@functools.cache
def _typestore(is_ros1: bool) -> Typestore:
    """Return the type store, made once because it compiles its deserializers."""
    from rosbags.typesys import Stores, get_typestore

    return get_typestore(Stores.ROS1_NOETIC if is_ros1 else Stores.ROS2_HUMBLE)


def wrong_time(message: RecordedMessage) -> str:
    """Describe a message whose time cannot be a time of recording."""
    return f"a message on {message.topic.name} has the time {message.recorded_ns} ns"


def read_message(message: RecordedMessage) -> Frame | LabelMessage:
    """Return the frame or label in a message.

    The three message types are the same in every ROS 2 distribution, so the bag's own definitions,
    which may be missing or wrong, are not needed.

    Raises:
        BagError: The message is broken.
    """
    (topic, message_type, _), recorded_ns, _, _ = message
    if not is_time(recorded_ns):
        raise BagError(wrong_time(message))
    try:
        content = _deserialize(message)
        if message_type == STRING_TYPE:
            return LabelMessage(topic, str(content.data), recorded_ns)
        stamp = content.header.stamp
        stamp_ns = int(stamp.sec) * _NS_PER_SEC + int(stamp.nanosec) or recorded_ns
        if message_type == COMPRESSED_TYPE:
            return CompressedFrame(topic, stamp_ns, recorded_ns, str(content.format), content.data)
        return RawFrame(
            topic=topic,
            stamp_ns=stamp_ns,
            published_ns=recorded_ns,
            encoding=str(content.encoding),
            height=int(content.height),
            width=int(content.width),
            step=int(content.step),
            is_bigendian=bool(content.is_bigendian),
            data=content.data,
        )
    except Exception as error:
        # The generated deserializers check little: broken bytes raise errors of any kind.
        raise _broken(message, error) from error


def cdr_of(message: RecordedMessage) -> bytes:
    """Return a message in the serialization of ROS 2 (CDR).

    Raises:
        BagError: The message is broken.
    """
    if not message.is_ros1:
        return bytes(message.data)
    try:
        types = _typestore(is_ros1=False)
        return bytes(types.ros1_to_cdr(memoryview(message.data), message.topic.message_type))
    except Exception as error:
        raise _broken(message, error) from error


def _deserialize(message: RecordedMessage) -> Any:
    # A view, because slices of bytes are copies.
    data = memoryview(message.data)
    if message.is_ros1:
        return _typestore(is_ros1=True).deserialize_ros1(data, message.topic.message_type)
    return _typestore(is_ros1=False).deserialize_cdr(data, message.topic.message_type)


def _broken(message: RecordedMessage, error: Exception) -> BagError:
    """Return the error for a broken message."""
    return BagError(f"a message on {message.topic.name} is broken: {error!r}"[:300])
