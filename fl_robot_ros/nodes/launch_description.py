"""The launch description behind all launch files: arguments, and nodes to start."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from fl_robot_ros.errors import SettingError
from fl_robot_ros.paths import PACKAGE
from fl_robot_ros.ros.parent import END_WITH_PARENT

_LOG_LEVELS = ("debug", "info", "warn", "error", "fatal")
_FLAGS = ("true", "false")


def describe_launch(file: str, nodes: Iterable[str]) -> LaunchDescription:
    """Return the description of a launch file that starts nodes of this package.

    Its arguments are `params_file`, `namespace`, `use_sim_time` and `log_level`; with several
    nodes also `client_params_file` and so on, for one node alone. Without a parameter file the
    nodes get none, and parameters that the user's own launch file sets apply.

    Args:
        file: Path of the launch file.
        nodes: Executables, which are also the names of the nodes.
    """
    nodes = list(nodes)
    own_files = {node: f"{node.removeprefix('fl_')}_params_file" for node in nodes}
    arguments = {
        "params_file": f"YAML file with parameters of {' and '.join(nodes)}; empty: none.",
        "namespace": "Namespace of the nodes, their topics and services.",
        "use_sim_time": "true: take the time from /clock; empty: the nodes' own setting.",
        "log_level": f"Lowest severity that is logged: {', '.join(_LOG_LEVELS)}; empty: info.",
    }
    if len(nodes) > 1:
        for node, name in own_files.items():
            arguments[name] = (
                f"YAML file with parameters of {node} alone, in addition to params_file."
            )

    def start(context: LaunchContext) -> list[Node]:
        _refuse_unknown(context, file, arguments)
        values = {name: LaunchConfiguration(name).perform(context).strip() for name in arguments}
        started = []
        for node in nodes:
            files = [values["params_file"], values.get(own_files[node], "")]
            started.append(
                Node(
                    package=PACKAGE,
                    executable=node,
                    namespace=values["namespace"],
                    parameters=[
                        *(_existing(path) for path in files if path),
                        *_sim_time(values["use_sim_time"]),
                    ],
                    ros_arguments=_log_level(values["log_level"]),
                    additional_env={END_WITH_PARENT: "1"},
                    output="screen",
                )
            )
        return started

    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value="", description=description)
                for name, description in arguments.items()
            ),
            OpaqueFunction(function=start),
        ]
    )


def _refuse_unknown(context: LaunchContext, file: str, known: Iterable[str]) -> None:
    """Refuse unknown arguments, which launch would ignore.

    Where another launch file includes this one, the command line belongs to that one.

    Raises:
        SettingError: An argument is unknown.
    """
    if Path(file).name not in {Path(word).name for word in sys.argv}:
        return
    given = [word.partition(":=")[0] for word in context.argv if ":=" in word]
    for name in given:
        if name not in known:
            raise SettingError(
                f"{Path(file).name} has no argument '{name}'; it takes {', '.join(known)}"
            )


def _existing(path: str) -> str:
    """Return the absolute path of a parameter file; launch itself only warns if it is missing.

    Raises:
        SettingError: The file does not exist.
    """
    expanded = Path(path).expanduser().absolute()
    if not expanded.is_file():
        raise SettingError(f"there is no parameter file {expanded}")
    return str(expanded)


def _log_level(value: str) -> list[str]:
    """Return the ROS arguments for a log level in upper or lower case."""
    if not value:
        return []
    if value.lower() not in _LOG_LEVELS:
        raise SettingError(f"log_level is '{value}'; expected {', '.join(_LOG_LEVELS)}")
    return ["--log-level", value.lower()]


def _sim_time(value: str) -> list[dict[str, bool]]:
    """Return the parameters for simulated time."""
    if not value:
        return []
    if value.lower() not in _FLAGS:
        raise SettingError(f"use_sim_time is '{value}'; expected {' or '.join(_FLAGS)}")
    return [{"use_sim_time": value.lower() == "true"}]
