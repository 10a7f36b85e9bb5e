"""Checks that a node's parameter files apply to the node."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from rclpy.node import Node

from fl_robot_ros.errors import SettingError
from fl_robot_ros.robot.parameter_file import applies, read_parameters, sections
from fl_robot_ros.ros.command_line import split_arguments

_NAMES_SHOWN = 5
_LAUNCH_PREFIX = "launch_params_"


def check_parameter_files(node: Node, arguments: Sequence[str]) -> None:
    """Reject parameter files without parameters for the node.

    ROS silently ignores the parts of a file for other nodes: a file with the key `fl_client` does
    not apply to `/robot1/fl_client`, which would run on its defaults, without the file's privacy
    masks.

    Args:
        node: The node, with its name and namespace.
        arguments: The command line of its process.

    Raises:
        SettingError: No file has parameters for the node, or a file has them only for a node of
            this name in another namespace.
    """
    full_name = node.get_fully_qualified_name()
    # Only regular files: rcl has read a pipe, as `<(...)` of a shell, to its end.
    # Launch writes files of its own for the single parameters of a launch file.
    paths = [
        path
        for path in _files_in(arguments)
        if path.is_file() and not path.name.startswith(_LAUNCH_PREFIX)
    ]
    parts = {
        path: [section.pattern for section in sections(read_parameters(path))] for path in paths
    }
    is_anything_taken = any(
        applies(pattern, full_name) for patterns in parts.values() for pattern in patterns
    )
    for path, patterns in parts.items():
        if any(applies(pattern, full_name) for pattern in patterns):
            continue
        is_meant = any(pattern.rpartition("/")[2] == node.get_name() for pattern in patterns)
        if is_meant or not is_anything_taken:
            shown = ", ".join(patterns[:_NAMES_SHOWN]) or "no node"
            more = f" and {len(patterns) - _NAMES_SHOWN} more" if patterns[_NAMES_SHOWN:] else ""
            raise SettingError(
                f"parameter file {path} has nothing for {full_name}: it has parameters for "
                f"{shown}{more}; use the key '/**/{node.get_name()}:', which means this node in "
                "any namespace"
            )


def _files_in(arguments: Sequence[str]) -> Iterator[Path]:
    """Yield the files after `--params-file`."""
    words, _ = split_arguments(arguments)
    for word, path in pairwise(words):
        if word == "--params-file":
            yield Path(path)
