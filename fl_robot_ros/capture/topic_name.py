"""Topic names, and how the names that people write match those of robots and bags."""

from __future__ import annotations

from collections.abc import Iterable

# What robots name the topic of labels.
LABEL_TOPIC = "fl/label"

# What image_transport puts behind a camera's name, where the type is CompressedImage.
_TRANSPORTS = ("/compressed", "/compressedDepth", "/zstd")


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
    camera = _camera_of(topic)
    found = [name for name in names if topic_matches(camera, (_camera_of(name),))]
    return sorted(found, key=lambda name: (topic_matches(topic, (name,)), len(name)), reverse=True)


def _camera_of(topic: str) -> str:
    """Return a topic's name without the transport at its end."""
    name = topic.strip("/")
    for transport in _TRANSPORTS:
        name = name.removesuffix(transport)
    return name
