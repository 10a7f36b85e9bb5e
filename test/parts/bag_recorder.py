"""Writes real bags with rosbags, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import lz4.frame
import numpy as np
from numpy.typing import NDArray
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.rosbag2.enums import CompressionFormat, CompressionMode
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

START_NS = 1_700_000_000_000_000_000
TYPES = get_typestore(Stores.ROS2_HUMBLE)
ROS1_TYPES = get_typestore(Stores.ROS1_NOETIC)
IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
STRING = "std_msgs/msg/String"


@dataclass(frozen=True)
class Item:
    """One message to record: an image (H, W, 3) RGB uint8, a label, or ready-made bytes."""

    topic: str
    time_ns: int
    content: NDArray[np.uint8] | str
    compressed: bool = False
    stamp_ns: int | None = None


def images_of(items: Sequence[Item]) -> list[Item]:
    """Return the items that are images."""
    return [item for item in items if not isinstance(item.content, str)]


def make_image(number: int, height: int = 24, width: int = 32) -> NDArray[np.uint8]:
    """Return a smooth image that differs by number, uint8 (height, width, 3), RGB."""
    noise = np.random.default_rng(number).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def drive(
    frames: int = 30,
    labels: Sequence[str] = ("cat", "dog"),
    topic: str = "/camera/image_raw",
    label_topic: str = "/fl/label",
    rate_hz: float = 10.0,
    compressed: bool = False,
    size: tuple[int, int] = (24, 32),
) -> list[Item]:
    """Return a drive past several labels, each for the same number of frames."""
    items = []
    for number in range(frames):
        time_ns = START_NS + round(number * 1e9 / rate_hz)
        if number % (frames // len(labels)) == 0 and number * len(labels) // frames < len(labels):
            label = labels[number * len(labels) // frames]
            items.append(Item(label_topic, time_ns - 1_000_000, label))
        items.append(Item(topic, time_ns, make_image(number, *size), compressed))
    return items


def record(
    path: Path,
    items: Sequence[Item],
    storage: StoragePlugin = StoragePlugin.MCAP,
    compression: CompressionMode = CompressionMode.NONE,
    lz4_chunks: bool = False,
) -> Path:
    """Write a bag; return its storage file."""
    writer = Writer(path, version=9, storage_plugin=storage)
    writer.set_compression(compression, CompressionFormat.ZSTD)
    with writer:
        if lz4_chunks:
            # rosbags reads these, but has no setting to write them.
            file: Any = writer.storage
            file.compression, file.compressor = "lz4", lz4.frame.compress
        connections: dict[str, Any] = {}
        for item in items:
            kind, data = serialized(item)
            if item.topic not in connections:
                connections[item.topic] = writer.add_connection(item.topic, kind, typestore=TYPES)
            writer.write(connections[item.topic], item.time_ns, data)
    return next(file for file in path.iterdir() if file.name != "metadata.yaml")


def serialized(item: Item, is_ros1: bool = False) -> tuple[str, bytes]:
    """Return the type and the serialized content of a message, as ROS 2 or ROS 1 writes it."""
    if is_ros1:
        kind, message = _message(item, ROS1_TYPES, seq=1)
        return kind, bytes(ROS1_TYPES.serialize_ros1(message, kind))
    kind, message = _message(item)
    return kind, bytes(TYPES.serialize_cdr(message, kind))


def record_ros1(
    path: Path,
    items: Sequence[Item],
    compression: Ros1Writer.CompressionFormat | None = None,
    chunk_bytes: int = 1 << 20,
) -> Path:
    """Write a ROS 1 bag; return its path."""
    writer = Ros1Writer(path)
    writer.chunk_threshold = chunk_bytes
    if compression is not None:
        writer.set_compression(compression)
    with writer:
        connections: dict[str, Any] = {}
        for item in items:
            kind, data = serialized(item, is_ros1=True)
            if item.topic not in connections:
                connections[item.topic] = writer.add_connection(
                    item.topic, kind, typestore=ROS1_TYPES
                )
            writer.write(connections[item.topic], item.time_ns, data)
    return path


def _message(item: Item, store: Typestore = TYPES, **header_fields: int) -> tuple[str, Any]:
    types = store.types
    if isinstance(item.content, str):
        return STRING, types[STRING](data=item.content)
    stamp_ns = item.time_ns - 5_000_000 if item.stamp_ns is None else item.stamp_ns
    stamp = types["builtin_interfaces/msg/Time"](
        sec=stamp_ns // 1_000_000_000, nanosec=stamp_ns % 1_000_000_000
    )
    header = types["std_msgs/msg/Header"](stamp=stamp, frame_id="camera", **header_fields)
    if item.compressed:
        _, encoded = cv2.imencode(".jpg", cv2.cvtColor(item.content, cv2.COLOR_RGB2BGR))
        data = np.asarray(encoded, np.uint8).ravel()
        return COMPRESSED, types[COMPRESSED](header=header, format="jpeg", data=data)
    height, width = item.content.shape[:2]
    return IMAGE, types[IMAGE](
        header=header,
        height=height,
        width=width,
        encoding="rgb8",
        is_bigendian=0,
        step=width * 3,
        data=np.ascontiguousarray(item.content).ravel(),
    )
