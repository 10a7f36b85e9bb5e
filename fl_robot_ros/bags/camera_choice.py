"""The one topic that is read of a camera with several: raw, compressed and others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import partial

from fl_robot_ros.bags.bag_topic import COMPRESSED_TYPE, Topic, TopicCounts
from fl_robot_ros.topic_name import camera_of, topic_matches

# Suffixes of the topics whose images can be read.
_READABLE = ("", "/compressed")


def other_topics(counts: TopicCounts, names: Sequence[str] = ()) -> dict[Topic, Topic]:
    """Return the topics to skip, each with the topic of the same camera to read instead.

    Read is the topic that comes first in `names`, else the raw one. Topics with less than half as
    many images as another, because a recorder was too slow for example, come last.

    Args:
        counts: Number of messages by image topic.
        names: Topic names in people's spelling, the most important first.
    """
    cameras = defaultdict(list)
    for topic in sorted(counts):
        if counts[topic]:
            cameras[camera_of(topic.name)].append(topic)
    others: dict[Topic, Topic] = {}
    for camera, topics in cameras.items():
        transports = {topic: topic.name.strip("/").removeprefix(camera) for topic in topics}
        readable = [topic for topic in topics if transports[topic] in _READABLE] or topics
        most = max(counts[topic] for topic in readable)
        full = [topic for topic in readable if 2 * counts[topic] >= most]
        chosen = min(full, key=partial(_rank, names))
        others.update({topic: chosen for topic in topics if topic != chosen})
    return others


def describe_other(other: Topic, chosen: Topic) -> str:
    """Say which topic is left out and which is read instead."""
    if other.name == chosen.name:
        return (
            f"{other.name} as {other.message_type} is left out: it is read as "
            f"{chosen.message_type}"
        )
    return f"{other.name} is left out: it is of the same camera as {chosen.name}"


def _rank(names: Sequence[str], topic: Topic) -> tuple[int, int, bool]:
    """Return the sort key of a camera's topics: by `names`, then raw before compressed."""
    places = [place for place, name in enumerate(names) if topic_matches(topic.name, (name,))]
    is_compressed = topic.message_type == COMPRESSED_TYPE
    return min(places, default=len(names)), len(topic.name), is_compressed
