"""Full names of topics, and their names before a remapping."""

from __future__ import annotations

from collections.abc import Iterable

from rclpy.expand_topic_name import expand_topic_name
from rclpy.node import Node

from fl_robot_ros.errors import SettingError


def full_topic_name(node: Node, name: str) -> str:
    """Return the full name of a topic, remapped.

    Raises:
        SettingError: The name is invalid.
    """
    try:
        return str(node.resolve_topic_name(name))
    except RuntimeError as error:  # Any error of rcl, whose first part says why.
        reason = str(error).removeprefix("failed to resolve name: ").partition(", at ")[0]
        raise SettingError(f"topic name {name!r} is invalid: {reason}") from error


def names_by_topic(node: Node, names: Iterable[str]) -> dict[str, list[str]]:
    """Return the other names of topics by their full names: as written, and before a remapping.

    Raises:
        SettingError: A name is invalid.
    """
    found: dict[str, list[str]] = {}
    for name in names:
        full = full_topic_name(node, name)
        expanded = expand_topic_name(name, node.get_name(), node.get_namespace())
        found.setdefault(full, []).extend([expanded, name])
    return found
