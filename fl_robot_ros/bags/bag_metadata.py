"""The metadata.yaml of a rosbag2."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

import yaml

from fl_robot_ros.bags.bag_topic import Topic, TopicCounts, topic_of
from fl_robot_ros.bags.storage import is_time

METADATA_NAME = "metadata.yaml"
# A bag of a thousand topics and files has about 1 MB of it.
_MAX_BYTES = 1 << 23
_ERRORS = (
    *(OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError),
    *(RecursionError, yaml.YAMLError),
)


@dataclass(frozen=True)
class BagMetadata:
    """Content of a metadata.yaml; empty if the file is missing or broken.

    Attributes:
        names: File names, stripped of folders, which could lead out of the bag.
        promised: Number of messages by topic.
        start_ns: Start of the recording in ns; None: not given.
    """

    names: tuple[str, ...] = ()
    promised: TopicCounts = field(default_factory=dict)
    start_ns: int | None = None


def read_metadata(path: Path) -> BagMetadata:
    """Read a metadata.yaml, which must be a regular file."""
    try:
        with path.open("rb") as file:
            # Texts only: merges and numbers like 1:1:1 can take far more time than their size.
            content: Any = yaml.load(file.read(_MAX_BYTES), yaml.BaseLoader)
        information = content["rosbag2_bagfile_information"]
        names = [PurePath(item).name for item in information["relative_file_paths"]]
        promised: Counter[Topic] = Counter()
        for item in information["topics_with_message_count"]:
            topic = item["topic_metadata"]
            name, message_type, count = topic["name"], topic["type"], item["message_count"]
            serialization = topic.get("serialization_format", "cdr")
            if not all(isinstance(text, str) for text in (name, message_type, serialization)):
                return BagMetadata()
            promised[topic_of(name, message_type, serialization)] += max(0, int(count))
    except _ERRORS:
        return BagMetadata()
    return BagMetadata(tuple(dict.fromkeys(names)), dict(promised), _start_ns(information))


def _start_ns(information: Any) -> int | None:
    try:
        start_ns = int(information["starting_time"]["nanoseconds_since_epoch"])
    except (KeyError, TypeError, ValueError):
        return None
    return start_ns if is_time(start_ns) else None
