"""Which topic of a camera is read from a bag that has several: raw, compressed and others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import partial

from fl_robot_ros.bags.recorded_message import TopicCounts
from fl_robot_ros.topic_name import camera_of, topic_matches

# What comes behind a camera's name where its images can be read.
_READABLE = ("", "/compressed")

Topic = tuple[str, str]


def other_topics(counts: TopicCounts, names: Sequence[str] = ()) -> dict[Topic, Topic]:
    """Return the topics that show what another one shows, each with the one to read instead.

    Of a camera's topics, the first one is read that `names` has, else the raw one; but one with
    less than half of the images of another, as where a recorder could not follow, comes behind it.

    Args:
        counts: Number of messages by image topic and message type.
        names: Names of topics as people write them, the most important first.

    Returns:
        Names and types.
    """
    cameras = defaultdict(list)
    for key in sorted(counts):
        if counts[key]:
            cameras[camera_of(key[0])].append(key)
    others: dict[Topic, Topic] = {}
    for camera, keys in cameras.items():
        transports = {key: key[0].strip("/").removeprefix(camera) for key in keys}
        readable = [key for key in keys if transports[key] in _READABLE] or keys
        most = max(counts[key] for key in readable)
        full = [key for key in readable if 2 * counts[key] >= most]
        chosen = min(full, key=partial(_rank, names))
        others.update({key: chosen for key in keys if key != chosen})
    return others


def describe_other(other: Topic, chosen: Topic) -> str:
    """Say that a topic is left out, and which one is read instead."""
    if other[0] == chosen[0]:
        return f"{other[0]} as {other[1]} is left out: it is read as {chosen[1]}"
    return f"{other[0]} is left out: it is of the same camera as {chosen[0]}"


def _rank(names: Sequence[str], key: Topic) -> tuple[int, int, bool]:
    """Return what sorts a camera's topics: by the names, raw ones first."""
    topic, message_type = key
    places = [place for place, name in enumerate(names) if topic_matches(topic, (name,))]
    is_compressed = message_type.endswith("CompressedImage")
    return min(places, default=len(names)), len(topic), is_compressed
