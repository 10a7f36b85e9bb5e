"""Topic names, and how the names that people write match those of robots and bags."""

from __future__ import annotations

from collections.abc import Iterable

# What robots name the topic of labels.
LABEL_TOPIC = "fl/label"

# What image_transport puts behind a camera's name where images are JPEG or PNG files.
_COMPRESSED = "/compressed"
# And where they are something else.
_TRANSPORTS = (_COMPRESSED, "/compressedDepth", "/zstd", "/theora", "/ffmpeg")


def topic_matches(topic: str, names: Iterable[str]) -> bool:
    """Say whether a topic has one of the names, apart from a namespace before it.

    Names match without their leading "/": "camera/image" is "/robot1/camera/image", but neither
    "/robot1/camera/image/raw" nor "/robot1/rear_camera/image".
    """
    whole = f"/{topic.strip('/')}"
    return any(whole.endswith(f"/{name.strip('/')}") for name in names)


def matching_names(topic: str, names: Iterable[str]) -> list[str]:
    """Return those of the names that mean a topic's camera, the most exact and longest first.

    A camera's topics are one, whether raw or compressed: "camera/image" means
    "/robot1/camera/image/compressed" too, after "camera/image/compressed".
    """
    camera = camera_of(topic)
    found = [name for name in names if topic_matches(camera, (camera_of(name),))]
    return sorted(found, key=lambda name: (topic_matches(topic, (name,)), len(name)), reverse=True)


def sibling_topic(topic: str) -> str:
    """Return the compressed topic of a camera's raw one, and the raw one of the compressed."""
    raw = topic.removesuffix(_COMPRESSED)
    return raw if raw and raw != topic else f"{topic}{_COMPRESSED}"


def camera_of(topic: str) -> str:
    """Return a topic's name without the transport at its end, and "/" around it."""
    name = topic.strip("/")
    for transport in _TRANSPORTS:
        name = name.removesuffix(transport)
    return name
