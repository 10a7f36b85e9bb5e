"""A ROS parameter file of `fl_client`, for commands that work without ROS."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from fl_robot_ros.config import ClientSettings, PerceptionSettings, StreamerSettings
from fl_robot_ros.errors import SettingError
from fl_robot_ros.name_list import name_list

_NODE = "fl_client"
_WILDCARDS = ("*", "**")
# What a bag's frames depend on.
_TAKEN = (
    *("image_topics", "sample_rate_hz", "jpeg_quality", "encoder_threads"),
    *("label_hold_sec", "label_lookback_sec", "topic_labels", "privacy_masks"),
    *("min_brightness", "max_brightness", "min_sharpness", "min_difference_bits"),
)
# One file may serve several nodes.
_KNOWN = {
    *("use_sim_time", "qos_overrides", "start_type_description_service"),
    *(
        field.name
        for cls in (ClientSettings, PerceptionSettings, StreamerSettings)
        for field in dataclasses.fields(cls)
    ),
}


def read_capture_settings(path: Path) -> ClientSettings:
    """Return what a parameter file says of a client's capture, the rest as by default.

    As with ROS, the file's parts for any node and for `fl_client` count, the later ones more.

    Raises:
        SettingError: The file cannot be read, has no part for the client or those of several, or a
            name or a value is wrong. An unknown name might be a misspelt mask.
    """
    values: dict[str, Any] = {}
    parts = list(_parts(_read(path), ""))
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


def _read(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingError(f"cannot read {path}: {error.strerror}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SettingError(f"{path} is not YAML: {' '.join(str(error).split())}") from error


def _parts(content: Any, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name of each node that may be a client, and its parameters."""
    if not isinstance(content, dict):
        return
    for key, below in content.items():
        if key != "ros__parameters":
            yield from _parts(below, f"{name}/{str(key).strip('/')}")
        elif isinstance(below, dict) and name.rpartition("/")[2] in (_NODE, *_WILDCARDS):
            yield name, below
