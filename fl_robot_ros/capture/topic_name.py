"""Topic names, and how the names that people write match those of robots and bags."""

from __future__ import annotations

from collections.abc import Iterable


def topic_matches(topic: str, names: Iterable[str]) -> bool:
    """Say whether a topic has one of the names, apart from a namespace before it.

    Names match without their leading "/": "camera/image" is "/robot1/camera/image", but neither
    "/robot1/camera/image/raw" nor "/robot1/rear_camera/image".
    """
    whole = f"/{topic.strip('/')}"
    return any(whole.endswith(f"/{name.strip('/')}") for name in names)


def matching_names(topic: str, names: Iterable[str]) -> list[str]:
    """Return those of the names that a topic has, the longest first."""
    return sorted((name for name in names if topic_matches(topic, (name,))), key=len, reverse=True)
