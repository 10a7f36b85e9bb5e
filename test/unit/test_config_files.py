"""The YAML files hold exactly the settings and their defaults, as ROS reads them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

from fl_robot_ros.config import (
    ClientSettings,
    PerceptionSettings,
    ServerSettings,
    StreamerSettings,
    ViewerSettings,
)
from fl_robot_ros.setting import Settings, setting_type

CONFIG = Path(__file__).parents[2] / "config"
FILES: dict[str, type[Settings]] = {
    "client.yaml": ClientSettings,
    "perception.yaml": PerceptionSettings,
    "streamer.yaml": StreamerSettings,
    "viewer.yaml": ViewerSettings,
    "server.yaml": ServerSettings,
}
every_file = pytest.mark.parametrize("name", FILES)
SETTINGS = [
    pytest.param(name, field, id=f"{name}-{field.name}")
    for name, cls in FILES.items()
    for field in dataclasses.fields(cls)
]
every_setting = pytest.mark.parametrize(("name", "field"), SETTINGS)


def read_values(name: str) -> dict[str, Any]:
    """Return the file's settings; those of a node are parameters of any node that takes it."""
    content = yaml.safe_load((CONFIG / name).read_text())
    if name == "server.yaml":
        return dict(content)
    assert list(content) == ["/**"]
    assert list(content["/**"]) == ["ros__parameters"]
    return dict(content["/**"]["ros__parameters"])


def test_every_file_is_tested() -> None:
    assert {path.name for path in CONFIG.glob("*.yaml")} == set(FILES)


@every_file
def test_a_file_holds_exactly_the_settings_in_their_order(name: str) -> None:
    assert list(read_values(name)) == [field.name for field in dataclasses.fields(FILES[name])]


@every_file
def test_the_values_are_the_defaults(name: str) -> None:
    cls = FILES[name]
    # What is to be filled in is not valid as it is.
    own = {"classes": ["a", "b"]} if name == "server.yaml" else {}
    assert cls.from_mapping({**read_values(name), **own}) == cls.from_mapping(own)
    assert all(tuple(read_values(name)[key]) == getattr(cls, key) for key in own)


@every_setting
def test_a_value_has_its_type_as_ros_reads_it(name: str, field: dataclasses.Field[Any]) -> None:
    value = read_values(name)[field.name]
    kind = setting_type(FILES[name], field.name)
    assert type(value) is (list if kind is tuple else kind)
    # rclpy takes [] for a list of bytes.
    assert value != [] or name == "server.yaml"
