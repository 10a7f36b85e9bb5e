"""The command `fl_server`."""

from __future__ import annotations

import argparse
import dataclasses
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fl_robot_ros.cli import release
from fl_robot_ros.cli.option_type import full_path
from fl_robot_ros.cli.yaml_file import read_yaml
from fl_robot_ros.config import ServerSettings
from fl_robot_ros.dependency import SERVER_MODULES, require
from fl_robot_ros.errors import FlRobotError, LabelError, SettingError
from fl_robot_ros.labels.label_text import clean_label
from fl_robot_ros.one_line import one_line
from fl_robot_ros.setting import describe_range, setting_type

_DESCRIPTION = """\
Serve a fleet of robots: start a Flower SuperLink, wait for robots, train one
model with them round by round, keep a checkpoint of every round, and send the
robots the result. Ctrl-C stops the server; the next start resumes from the
newest checkpoint. `fl_server release` says which model robots get; see its
--help.
"""

_EPILOG = """\
examples:
  fl_server --classes cup phone --min-nodes 1
  fl_server --classes cup phone --keys-dir fleet_keys --host 0.0.0.0
  fl_server --config my_server.yaml --port 9000 --state-dir fleet --num-rounds 10
  fl_server release 12 --state-dir fleet

Command-line options override the file. Exit code: 0 the run finished, 1 it
failed, 2 a setting is invalid, 130 stopped by Ctrl-C or SIGTERM.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["release"]:
        return release.main(arguments[1:])
    parser = argparse.ArgumentParser(
        prog="fl_server",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=full_path, metavar="FILE", help="YAML file with settings")
    group = parser.add_argument_group("settings, as in the file")
    for field in dataclasses.fields(ServerSettings):
        _add_option(group, field)
    options = vars(parser.parse_args(arguments))
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        settings = _read_settings(options.pop("config"), options)
        # Flower takes a second to load, which --help and invalid settings need not wait for.
        require(SERVER_MODULES)
        from fl_robot_ros.cloud.server import FleetServer

        succeeded = FleetServer(settings, _say, stop).serve()
    except SettingError as error:
        print(f"fl_server: {error}", file=sys.stderr)
        return 2
    except FlRobotError as error:
        print(f"fl_server: {error}", file=sys.stderr)
        return 1
    if stop.is_set():
        return 130
    return 0 if succeeded else 1


def _add_option(group: Any, field: dataclasses.Field[Any]) -> None:
    """Add the command-line option of a setting."""
    allowed = describe_range(field)
    unit = field.metadata["unit"]
    details = "; ".join(
        part
        for part in (
            f"{allowed} {unit}".strip() if allowed else unit,
            f"default {field.default!r}" if field.default not in ("", ()) else "",
        )
        if part
    )
    help_text = field.metadata["description"] + (f" ({details})" if details else "")
    help_text = help_text.replace("%", "%%")
    option = "--" + field.name.replace("_", "-")
    kind = setting_type(ServerSettings, field.name)
    if kind is bool:
        group.add_argument(
            option, action=argparse.BooleanOptionalAction, default=None, help=help_text
        )
    elif kind is tuple:
        group.add_argument(option, nargs="+", default=None, metavar="NAME", help=help_text)
    else:
        metavar = {int: "N", float: "X", str: "TEXT"}[kind]
        group.add_argument(option, type=kind, default=None, metavar=metavar, help=help_text)


def _read_settings(path: Path | None, options: dict[str, Any]) -> ServerSettings:
    """Return the settings of the file, overridden by the options that were given.

    Raises:
        SettingError: The file is missing or no YAML, or a value is wrong.
    """
    values: dict[str, Any] = {}
    if path:
        content = read_yaml(path)
        if not isinstance(content, dict | None):
            raise SettingError(f"{path} holds no settings; expected lines like 'port: 8000'")
        values.update(content or {})
    values.update({name: value for name, value in options.items() if value is not None})
    settings = ServerSettings.from_mapping(values)
    try:
        # In the clean form of robots' labels, for comparison with them.
        classes = tuple(map(clean_label, settings.classes))
    except LabelError as error:
        raise SettingError(f"classes: {error}") from error
    return dataclasses.replace(settings, classes=classes)


def _say(text: str) -> None:
    """Print one line with the time; robots' words may be in it."""
    columns = [time.strftime("%H:%M:%S"), *(one_line(part) for part in text.split("  "))]
    try:
        print("  ".join(columns), flush=True)
    except BrokenPipeError:
        # A fleet does not end with `fl_server | head`; the history has most of the lines.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


if __name__ == "__main__":
    sys.exit(main())
