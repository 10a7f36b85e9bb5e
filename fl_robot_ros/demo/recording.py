"""Writes labelled frames into a rosbag2 file (mcap), as a robot would record them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability
from rosbags.interfaces import QosTime as Duration
from rosbags.rosbag2 import StoragePlugin, Writer, WriterError
from rosbags.typesys import Stores, get_typestore

from fl_robot_ros.errors import BagError
from fl_robot_ros.images.jpeg import encode_jpeg

_FRAME_ID = "camera"
_LABEL_TOPIC = "/fl/label"
_JPEG_QUALITY = 90
_NS_PER_SEC = 1_000_000_000
# The newest metadata that rosbag2 of Humble still reads.
_METADATA_VERSION: Literal[8] = 8
_TYPES = get_typestore(Stores.ROS2_HUMBLE)
_UNSET = Duration(0, 0)
_QOS = Qos(
    history=QosHistory.KEEP_LAST,
    depth=10,
    reliability=QosReliability.RELIABLE,
    durability=QosDurability.VOLATILE,
    deadline=_UNSET,
    lifespan=_UNSET,
    liveliness=QosLiveliness.SYSTEM_DEFAULT,
    liveliness_lease_duration=_UNSET,
    avoid_ros_namespace_conventions=False,
)


def record_bag(
    path: Path,
    frames: Iterable[tuple[NDArray[np.uint8], str]],
    *,
    image_topic: str = "/camera/image_raw",
    rate_hz: float = 30.0,
    compressed: bool,
    start_ns: int,
) -> int:
    """Record frames, and their labels on /fl/label, into a new bag.

    A label is recorded where it changes, half a frame time before the first frame that it
    holds for. A frame is recorded at its capture time, which its header carries too.

    Args:
        path: Folder of the bag; it must not exist yet.
        frames: Frames, uint8 RGB of shape (H, W, 3), each with its label, "" for none.
        image_topic: Topic of the frames.
        rate_hz: Frames per second, above 0.
        compressed: Whether frames are sensor_msgs/msg/CompressedImage (JPEG) instead of
            sensor_msgs/msg/Image (rgb8).
        start_ns: Capture time of the first frame, in nanoseconds since the epoch.

    Returns:
        The number of frames recorded, those without a label included.

    Raises:
        BagError: The bag exists already or cannot be written, the rate is not above 0, or a
            frame is not uint8 RGB.
    """
    if not rate_hz > 0.0:
        raise BagError(f"cannot record at {rate_hz} Hz; expected a rate above 0")
    image_type = "sensor_msgs/msg/CompressedImage" if compressed else "sensor_msgs/msg/Image"
    label_type = "std_msgs/msg/String"
    count = 0
    held_label: str | None = None
    try:
        with Writer(path, version=_METADATA_VERSION, storage_plugin=StoragePlugin.MCAP) as writer:
            image_connection, label_connection = (
                writer.add_connection(topic, kind, typestore=_TYPES, offered_qos_profiles=[_QOS])
                for topic, kind in ((image_topic, image_type), (_LABEL_TOPIC, label_type))
            )
            for rgb, label in frames:
                stamp_ns = start_ns + round(count * _NS_PER_SEC / rate_hz)
                if label != held_label:
                    label_ns = max(0, stamp_ns - round(_NS_PER_SEC / rate_hz / 2))
                    text = _TYPES.types[label_type](data=label)
                    writer.write(
                        label_connection, label_ns, _TYPES.serialize_cdr(text, label_type)
                    )
                    held_label = label
                message = _image_message(rgb, stamp_ns, compressed)
                writer.write(image_connection, stamp_ns, _TYPES.serialize_cdr(message, image_type))
                count += 1
    except (WriterError, OSError) as error:
        raise BagError(f"cannot record the bag {path}: {error}") from error
    return count


def _image_message(rgb: NDArray[np.uint8], stamp_ns: int, compressed: bool) -> Any:
    """Return an Image, or a CompressedImage in JPEG.

    Raises:
        BagError: The frame is not uint8 RGB.
    """
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.size == 0:
        raise BagError(
            f"cannot record a frame of {rgb.dtype} and shape {rgb.shape}; "
            "expected uint8 RGB of shape (H, W, 3)"
        )
    types = _TYPES.types
    sec, nanosec = divmod(stamp_ns, _NS_PER_SEC)
    header = types["std_msgs/msg/Header"](
        stamp=types["builtin_interfaces/msg/Time"](sec=sec, nanosec=nanosec), frame_id=_FRAME_ID
    )
    if compressed:
        jpeg = np.frombuffer(encode_jpeg(rgb, _JPEG_QUALITY), np.uint8)
        return types["sensor_msgs/msg/CompressedImage"](header=header, format="jpeg", data=jpeg)
    height, width = rgb.shape[:2]
    return types["sensor_msgs/msg/Image"](
        header=header,
        height=height,
        width=width,
        encoding="rgb8",
        is_bigendian=0,
        step=3 * width,
        data=np.ascontiguousarray(rgb).reshape(-1),
    )
