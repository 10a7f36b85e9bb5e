"""ROS parameters made from a settings class of `config.py`."""

from __future__ import annotations

import dataclasses
import difflib
import sys
from collections.abc import Collection, Mapping
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

from fl_robot_ros.config import ClientSettings, PerceptionSettings, StreamerSettings
from fl_robot_ros.errors import SettingError
from fl_robot_ros.ros.parameter_files import check_parameter_files
from fl_robot_ros.setting import Settings, SettingsT, describe_range, setting_type

_LARGEST_INTEGER = 2**63 - 1
# One file may serve several nodes.
_SETTINGS_OF_NODES: Mapping[str, type[Settings]] = {
    "fl_client": ClientSettings,
    "fl_perception": PerceptionSettings,
    "fl_streamer": StreamerSettings,
}
# difflib ratio above which an unknown parameter counts as a misspelt setting: "sample_rate" does,
# "frame_rate_hz" does not.
_LIKENESS = 0.85


def declare_settings(
    node: Node, cls: type[SettingsT], *, changeable: Collection[str] = ()
) -> SettingsT:
    """Declare every setting as a parameter of the node and return what the user set.

    An empty list of strings is declared as [""], because rclpy takes [] for a list of bytes. A
    setting of type float or string accepts a whole number, so that `-p label:=5` and
    `-p rate_hz:=10` work.

    Args:
        node: The node, without parameters of these names yet.
        cls: The settings class.
        changeable: Settings that may be set while the node runs; all others are read-only.

    Returns:
        The settings, checked.

    Raises:
        SettingError: A value has the wrong type or lies outside its range, a parameter is a
            misspelt setting, or no parameter file of the command line is for this node.
    """
    check_parameter_files(node, sys.argv)
    _refuse_misspelt(node, cls)
    _name_foreign(node, cls)
    given = {field.name: _given_value(node, cls, field) for field in dataclasses.fields(cls)}
    settings = cls(**given)
    for field in dataclasses.fields(cls):
        descriptor = describe_setting(cls, field, read_only=field.name not in changeable)
        value = getattr(settings, field.name)
        node.declare_parameter(field.name, _to_parameter(value), descriptor, ignore_override=True)
    return settings


def describe_setting(
    cls: type[Settings], field: dataclasses.Field[Any], *, read_only: bool
) -> ParameterDescriptor:
    """Return the descriptor of a setting: description with unit and range, and the range."""
    unit, allowed = field.metadata["unit"], describe_range(field)
    descriptor = ParameterDescriptor(
        name=field.name,
        description=field.metadata["description"] + (f" Unit: {unit}." if unit else ""),
        additional_constraints=allowed,
        read_only=read_only,
    )
    minimum, maximum = field.metadata["minimum"], field.metadata["maximum"]
    if minimum is None and maximum is None:
        return descriptor
    if setting_type(cls, field.name) is float:
        span = FloatingPointRange(
            from_value=-sys.float_info.max if minimum is None else float(minimum),
            to_value=sys.float_info.max if maximum is None else float(maximum),
        )
        descriptor.floating_point_range = [span]
    else:
        whole_span = IntegerRange(
            from_value=-_LARGEST_INTEGER if minimum is None else int(minimum),
            to_value=_LARGEST_INTEGER if maximum is None else int(maximum),
        )
        descriptor.integer_range = [whole_span]
    return descriptor


def _refuse_misspelt(node: Node, cls: type[Settings]) -> None:
    """Reject a parameter that is nearly a setting: a misspelt mask would mask nothing.

    ROS ignores undeclared parameters, and files for a whole robot rely on that.

    Raises:
        SettingError: A parameter is nearly a setting.
    """
    names = [field.name for field in dataclasses.fields(cls)]
    for given in _given_names(node):
        likely = difflib.get_close_matches(given, names, n=1, cutoff=_LIKENESS)
        if likely and given not in names and not _nodes_with(given):
            raise SettingError(f"unknown parameter '{given}'; did you mean '{likely[0]}'?")


def _name_foreign(node: Node, cls: type[Settings]) -> None:
    """Warn of parameters that belong to another node of this package."""
    names = [field.name for field in dataclasses.fields(cls)]
    for given in _given_names(node):
        others = _nodes_with(given)
        if others and given not in names:
            likely = difflib.get_close_matches(given, names, n=1, cutoff=_LIKENESS)
            hint = f"; its own is '{likely[0]}'" if likely else ""
            node.get_logger().warning(
                f"parameter '{given}' has no effect on {node.get_name()}: it is a setting of "
                f"{' and '.join(others)}{hint}"
            )


def _given_names(node: Node) -> Collection[str]:
    """Return the names of the parameters that the user set, declared or not."""
    # rclpy has no public access to undeclared parameters.
    return getattr(node, "_parameter_overrides", {})


def _nodes_with(name: str) -> list[str]:
    """Return the nodes of this package that have a setting of this name."""
    return [
        node
        for node, cls in _SETTINGS_OF_NODES.items()
        if name in {field.name for field in dataclasses.fields(cls)}
    ]


def _given_value(node: Node, cls: type[Settings], field: dataclasses.Field[Any]) -> Any:
    """Return the user's value of the parameter, in any type, or the default."""
    # Declared briefly without type and range, so that the settings class reports a bad value, and
    # not an exception of rclpy.
    loose = ParameterDescriptor(dynamic_typing=True)
    value = node.declare_parameter(field.name, _to_parameter(field.default), loose).value
    node.undeclare_parameter(field.name)
    kind = setting_type(cls, field.name)
    if kind is tuple and (value is None or len(value) == 0):
        return ()
    if kind is str and type(value) is int:
        return str(value)
    if value is False and "off" in field.metadata["choices"]:
        return "off"  # as YAML reads the word without quotes
    return value


def _to_parameter(value: Any) -> Any:
    """Return a setting's value as rclpy takes it."""
    return (list(value) or [""]) if isinstance(value, tuple) else value
