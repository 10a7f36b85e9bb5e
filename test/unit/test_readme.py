"""The README's tables say what the code says."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from fl_robot_ros.config import (
    ClientSettings,
    PerceptionSettings,
    ServerSettings,
    StreamerSettings,
)
from fl_robot_ros.setting import Settings, describe_range

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def settings_table(cls: type[Settings]) -> str:
    """Return the README's table of a settings class."""
    lines = ["| name | default | range | what |", "|---|---|---|---|"]
    for field in dataclasses.fields(cls):
        default = field.default
        if isinstance(default, tuple):
            text = ", ".join(default) or "(none)"
        elif isinstance(default, bool):
            text = str(default).lower()
        elif isinstance(default, float):
            text = "1/255" if field.name == "input_scale" else repr(default)
        else:
            text = str(default) or "(empty)"
        unit = field.metadata["unit"]
        allowed = f"{describe_range(field)} {unit}".strip()
        lines.append(f"| `{field.name}` | {text} | {allowed} | {field.metadata['description']} |")
    return "\n".join(lines)


@pytest.mark.parametrize(
    "cls", [ClientSettings, PerceptionSettings, StreamerSettings, ServerSettings]
)
def test_every_setting_has_its_row(cls: type[Settings]) -> None:
    table = settings_table(cls)
    assert table in README, f"the README's table of {cls.__name__} should be:\n{table}"


def test_every_name_of_the_ros_interface_is_there_and_in_the_code() -> None:
    nodes = Path(__file__).parents[2] / "fl_robot_ros" / "nodes"
    code = "\n".join(path.read_text(encoding="utf-8") for path in nodes.glob("*.py"))
    for name in set(re.findall(r'"(fl/[a-z_/]+)"', code)):
        assert f"`{name}`" in README, name
    for name in set(re.findall(r"`(fl/[a-z_/]+)`", README)):
        assert f'"{name}"' in code, name


def test_files_and_commands_that_the_readme_names_exist() -> None:
    root = Path(__file__).parents[2]
    for name in set(re.findall(r"`((?:config|launch|requirements)/[\w.-]+)`", README)):
        assert (root / name).is_file(), name
    setup = (root / "setup.py").read_text(encoding="utf-8")
    for name in set(
        re.findall(
            r"`(fl_(?:client|perception|streamer|call|server|predict|dataset|demo))`", README
        )
    ):
        assert f"{name} = " in setup, name
