"""The command line of a node: `--help`, and the words that ROS would ignore."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fl_robot_ros.errors import SettingError
from fl_robot_ros.setting import Settings, describe_range

_WIDTH = 79
_INDENT = 2


@dataclass(frozen=True)
class NodeCommand:
    """The content of a node's `--help`.

    Attributes:
        name: Name of the node and of its executable.
        summary: What the node does, in one or two sentences.
        settings: Its parameters.
        topics: Name, type and description of each topic.
        services: Name, type and description of each service.
    """

    name: str
    summary: str
    settings: type[Settings]
    topics: tuple[tuple[str, str, str], ...]
    services: tuple[tuple[str, str, str], ...] = ()

    def wants_help(self, arguments: Sequence[str]) -> bool:
        """Say whether the command line asks for help.

        Args:
            arguments: The words after the program's name.

        Raises:
            SettingError: A word is no ROS argument.
        """
        _, words = split_arguments(arguments)
        if {"-h", "--help"} & set(words):
            return True
        if words:
            raise SettingError(
                f"unexpected argument {words[0]!r}; arguments for ROS come after --ros-args, "
                f"as in: {self.name} --ros-args --params-file FILE (see {self.name} --help)"
            )
        return False

    def help(self) -> str:
        """Return the help, for a terminal of 80 columns."""
        lines = [
            f"usage: {self.name} [--help] [--ros-args [-p NAME:=VALUE] [--params-file FILE]",
            f"{' ' * len(f'usage: {self.name} ')}[-r __ns:=/robot1] [--log-level LEVEL] ...]",
            "",
            *textwrap.wrap(self.summary, _WIDTH),
            "",
            "parameters:",
        ]
        for field in dataclasses.fields(self.settings):
            lines += _entry(field.name, _describe(field))
        for title, names in (("topics:", self.topics), ("services:", self.services)):
            if names:
                lines += ["", title]
            for name, type_name, text in names:
                lines += _entry(f"{name} ({type_name})", text)
        return "\n".join(lines)


def split_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the words for ROS, between `--ros-args` and `--`, and all others.

    Unlike rclpy's own function, this one opens no parameter file.
    """
    is_ros = False
    parts: dict[bool, list[str]] = {True: [], False: []}
    for word in arguments:
        if word == "--ros-args":
            is_ros = True
        elif word == "--" and is_ros:
            is_ros = False
        else:
            parts[is_ros].append(word)
    return parts[True], parts[False]


def _describe(field: dataclasses.Field[Any]) -> str:
    """Return description, range and default of a setting."""
    default = field.default
    if isinstance(default, tuple):
        text = "[" + ", ".join(default) + "]"
    elif isinstance(default, bool):
        text = str(default).lower()
    else:
        text = str(default) or "empty"
    allowed = f"{describe_range(field)} {field.metadata['unit']}".strip()
    limits = f"{allowed}; default {text}" if allowed else f"Default {text}"
    return f"{field.metadata['description']} {limits[0].upper()}{limits[1:]}."


def _entry(name: str, text: str) -> Iterator[str]:
    """Yield the lines of a name and, below it, its explanation."""
    yield " " * _INDENT + name
    indent = " " * (3 * _INDENT)
    yield from textwrap.wrap(text, _WIDTH, initial_indent=indent, subsequent_indent=indent)
