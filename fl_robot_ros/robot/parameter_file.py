"""ROS parameter files, read without ROS: which parameters reach which of this package's nodes."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fl_robot_ros.config import (
    ClientSettings,
    PerceptionSettings,
    StreamerSettings,
    ViewerSettings,
)
from fl_robot_ros.errors import SettingError
from fl_robot_ros.setting import Settings, setting_type

# One file may serve several nodes.
SETTINGS_OF_NODES: Mapping[str, type[Settings]] = {
    "fl_client": ClientSettings,
    "fl_perception": PerceptionSettings,
    "fl_streamer": StreamerSettings,
    "fl_viewer": ViewerSettings,
}
PARAMETERS = "ros__parameters"
# difflib ratio above which an unknown parameter counts as a misspelt setting: "sample_rate" does,
# "frame_rate_hz" does not.
_LIKENESS = 0.85


class Section(NamedTuple):
    """The parameters for the nodes that a key of a file means.

    Attributes:
        pattern: Full name of the nodes, which may have wildcards.
        values: Value by name; names of nested parameters are joined by a dot.
    """

    pattern: str
    values: dict[str, Any]

    @property
    def node(self) -> str:
        """Name of the node without its namespace; "*" or "**" for any."""
        return self.pattern.rpartition("/")[2]


def read_parameters(path: Path) -> Any:
    """Return the content of a parameter file.

    Raises:
        SettingError: The file cannot be read, or is no YAML.
    """
    import yaml  # `fl_doctor` runs without it, to say that it is missing.

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise SettingError(f"cannot read parameter file {path}: {error}") from error


def sections(content: Any, name: str = "") -> Iterator[Section]:
    """Yield the sections of a file with parameters, in its order.

    Args:
        content: Content of the file.
        name: The name above it.
    """
    if not isinstance(content, dict):
        return
    for key, below in content.items():
        if key != PARAMETERS:
            yield from sections(below, f"{name}/{str(key).strip('/')}")
        elif below:
            yield Section(name, dict(_flat(below, "")))


def applies(pattern: str, full_name: str) -> bool:
    """Say whether a key names the node, by rcl's rules.

    `*` stands for one part of the name, `**` for any number of them
    (https://design.ros2.org/articles/160_ros_command_line_arguments.html).
    """
    expressions = {"**": r"(/[^/]+)*", "*": r"/[^/]+"}
    parts = pattern.strip("/").split("/")
    expression = "".join(expressions.get(part) or "/" + re.escape(part) for part in parts)
    return re.fullmatch(expression, full_name) is not None


def nearest(name: str, names: Iterable[str]) -> str:
    """Return the name that a misspelt one probably means, "" for none."""
    likely = difflib.get_close_matches(name, list(names), n=1, cutoff=_LIKENESS)
    return likely[0] if likely else ""


def nodes_with(name: str) -> list[str]:
    """Return the nodes of this package that have a setting of this name."""
    return [node for node, cls in SETTINGS_OF_NODES.items() if name in setting_names(cls)]


def setting_names(cls: type[Settings]) -> list[str]:
    """Return the names of a node's settings."""
    return list(cls.__dataclass_fields__)


def as_setting(cls: type[Settings], name: str, value: Any) -> Any:
    """Return a parameter's value in the type of the setting where no doubt is possible.

    A text accepts a whole number, as in `-p label:=5`, the choice "off" the False that YAML makes
    of it without quotes, and a list no value, since ROS cannot express an empty list.
    """
    kind = setting_type(cls, name)
    if kind is tuple and (value is None or (hasattr(value, "__len__") and len(value) == 0)):
        return ()
    if kind is str and type(value) is int:
        return str(value)
    if value is False and "off" in cls.__dataclass_fields__[name].metadata["choices"]:
        return "off"
    return value


def _flat(values: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(values, dict):
        return
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
