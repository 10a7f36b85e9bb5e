"""Reading of an `fl_client` parameter file without ROS."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fl_robot_ros.cli.yaml_file import read_yaml
from fl_robot_ros.config import (
    ClientSettings,
    PerceptionSettings,
    StreamerSettings,
    ViewerSettings,
)
from fl_robot_ros.errors import SettingError
from fl_robot_ros.name_list import name_list

_NODE = "fl_client"
_WILDCARDS = ("*", "**")
# The settings that apply to frames of a bag.
_TAKEN = (
    *("image_topics", "sample_rate_hz", "jpeg_quality", "encoder_threads"),
    *("label_hold_sec", "label_lookback_sec", "topic_labels", "privacy_masks"),
    *("min_brightness", "max_brightness", "min_sharpness", "min_difference_bits"),
)
# A file may have parameters of several nodes.
_KNOWN = {
    *("use_sim_time", "qos_overrides", "start_type_description_service"),
    *(
        field.name
        for cls in (ClientSettings, PerceptionSettings, StreamerSettings, ViewerSettings)
        for field in dataclasses.fields(cls)
    ),
}


def read_capture_settings(path: Path) -> ClientSettings:
    """Return the capture settings of a parameter file, and defaults for the rest.

    As in ROS, sections for '/**' and for `fl_client` apply, later ones override earlier ones.

    Raises:
        SettingError: The file cannot be read, has no section for the client or sections for
            several, or a name or a value is invalid. An unknown name might be a misspelt mask.
    """
    values: dict[str, Any] = {}
    parts = list(_parts(read_yaml(path), ""))
    if not parts:
        raise SettingError(
            f"{path} has no parameters of {_NODE}; expected a line '/**:' or '{_NODE}:', and "
            f"below it 'ros__parameters:'"
        )
    for _, part in parts:
        for key in map(str, part):
            if key.partition(".")[0] not in _KNOWN:
                raise SettingError(f"{path}: unknown setting {key!r}")
        values.update({key: part[key] for key in _TAKEN if key in part})
    clients = {name for name, _ in parts if not set(_WILDCARDS) & set(name.split("/"))}
    if len(clients) > 1:
        raise SettingError(
            f"{path} has parameters of several clients ({name_list(sorted(clients))}); expected "
            f"one"
        )
    try:
        return ClientSettings(**values)
    except SettingError as error:
        raise SettingError(f"{path}: {error}") from error


def _parts(content: Any, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name and the parameters of each section that applies to a client."""
    if not isinstance(content, dict):
        return
    for key, below in content.items():
        if key != "ros__parameters":
            yield from _parts(below, f"{name}/{str(key).strip('/')}")
        elif isinstance(below, dict) and name.rpartition("/")[2] in (_NODE, *_WILDCARDS):
            yield name, below
