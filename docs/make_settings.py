"""Writes docs/settings.md and config/*.yaml from the settings in fl_robot_ros/config.py.

`make docs` runs it; a test compares the files with what it would write.
"""

from __future__ import annotations

import dataclasses
import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fl_robot_ros.config import (
    ClientSettings,
    PerceptionSettings,
    ServerSettings,
    StreamerSettings,
    ViewerSettings,
)
from fl_robot_ros.setting import Settings, describe_range

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS: dict[str, type[Settings]] = {
    "client": ClientSettings,
    "perception": PerceptionSettings,
    "streamer": StreamerSettings,
    "viewer": ViewerSettings,
    "server": ServerSettings,
}
_WIDTH = 100

_PAGE_HEAD = """\
# Settings

All settings of all programs. `make docs` writes this page from `fl_robot_ros/config.py`.

Nodes take settings as ROS parameters: from a file
(`ros2 launch fl_robot_ros client.launch.py params_file:=my_robot.yaml`) or one by one
(`--ros-args -p sample_rate_hz:=2.0`). `fl_server` takes a file (`--config server.yaml`) and
options, which win over the file (`--num-rounds 10`). The folder `config/` has a file for each
program with every setting and its default.

A value out of its range ends the program at once, and the message names the setting, the value
and the allowed range. So does a parameter whose name is almost that of a setting. A setting of
another node is named in the log. In a ROS parameter file a number that may be a fraction needs a
decimal point, and `[""]` is the empty list.
"""


def render_page() -> str:
    """Return the text of docs/settings.md."""
    return _PAGE_HEAD + "".join(
        f"\n## fl_{program}\n\n{_table(settings)}" for program, settings in PROGRAMS.items()
    )


def render_file(program: str) -> str:
    """Return the text of a program's YAML file; what it says above the settings is kept."""
    text = (ROOT / "config" / f"{program}.yaml").read_text(encoding="utf-8")
    is_node = program != "server"
    indent = "    " if is_node else ""
    start = "  ros__parameters:\n" if is_node else "\n"
    lines = [
        line
        for field in dataclasses.fields(PROGRAMS[program])
        for line in (*_comment(field, indent), f"{indent}{field.name}: {_value(field, is_node)}")
    ]
    return text.partition(start)[0] + start + "\n".join(lines) + "\n"


def files() -> dict[Path, str]:
    """Return every generated file with its text."""
    generated = {ROOT / "config" / f"{program}.yaml": render_file(program) for program in PROGRAMS}
    return {ROOT / "docs" / "settings.md": render_page(), **generated}


def _table(settings: type[Settings]) -> str:
    lines = ["| name | default | range | what |", "|---|---|---|---|"]
    for field in dataclasses.fields(settings):
        data = field.metadata
        allowed = f"{describe_range(field)} {data['unit']}".strip()
        default = _default_in_words(field)
        lines.append(f"| `{field.name}` | {default} | {allowed} | {data['description']} |")
    return "\n".join(lines) + "\n"


def _default_in_words(field: dataclasses.Field[Any]) -> str:
    default = field.default
    if isinstance(default, tuple):
        return ", ".join(default) or "(none)"
    if field.name == "input_scale":
        return "1/255"
    return json.dumps(default) if not isinstance(default, str) else default or "(empty)"


def _comment(field: dataclasses.Field[Any], indent: str) -> Iterator[str]:
    """Yield a setting's description, and below it unit and range, as comment lines."""
    data = field.metadata
    limits = []
    if data["unit"]:
        limits.append(f"Unit: {data['unit']}.")
    if data["choices"]:
        limits.append(f"Choices: {', '.join(map(json.dumps, data['choices']))}.")
    elif describe_range(field):
        limits.append(f"Range: {_plain(data['minimum'])} to {_plain(data['maximum'])}.")
    for text in (data["description"], " ".join(limits)):
        prefix = f"{indent}# "
        yield from textwrap.wrap(
            text, _WIDTH, initial_indent=prefix, subsequent_indent=prefix, break_on_hyphens=False
        )


def _plain(number: float) -> str:
    """Return a number without an exponent."""
    return f"{number:.15g}" if number >= 1e-4 or number == 0 else f"{number:.12f}".rstrip("0")


def _value(field: dataclasses.Field[Any], is_node: bool) -> str:
    """Return the default as YAML."""
    default = field.default
    if isinstance(default, tuple):
        # ROS cannot read an empty list.
        return json.dumps(list(default) or ([""] if is_node else []))
    return json.dumps(default)


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))
