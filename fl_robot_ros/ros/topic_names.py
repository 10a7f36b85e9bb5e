"""The full names of topics, and the names that they had before a remapping."""

from __future__ import annotations

from collections.abc import Iterable

from rclpy.expand_topic_name import expand_topic_name
from rclpy.node import Node

from fl_robot_ros.errors import SettingError


def full_topic_name(node: Node, name: str) -> str:
    """Return the full name of a topic, remapped.

    Raises:
        SettingError: The name is no topic's.
    """
    try:
        return str(node.resolve_topic_name(name))
    except RuntimeError as error:  # Any error of rcl, whose first part says why.
        reason = str(error).removeprefix("failed to resolve name: ").partition(", at ")[0]
        raise SettingError(f"topic name {name!r} is invalid: {reason}") from error


def names_by_topic(node: Node, names: Iterable[str]) -> dict[str, list[str]]:
    """Return by full topic names how people may call them: as written, and before a remapping.

    Raises:
        SettingError: A name is no topic's.
    """
    found: dict[str, list[str]] = {}
    for name in names:
        full = full_topic_name(node, name)
        expanded = expand_topic_name(name, node.get_name(), node.get_namespace())
        found.setdefault(full, []).extend([expanded, name])
    return found
