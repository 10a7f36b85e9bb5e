"""Checks of the parameters: the file, and what its values name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from fl_robot_ros.config import ClientSettings, PerceptionSettings, expand_path, resolve_data_dir
from fl_robot_ros.data_source import DataSource
from fl_robot_ros.doctor.finding import Check, Finding, Level, ok, problem, split, warning
from fl_robot_ros.errors import SettingError
from fl_robot_ros.identity.membership import Membership
from fl_robot_ros.robot.parameter_file import (
    PARAMETERS,
    SETTINGS_OF_NODES,
    Section,
    applies,
    as_setting,
    nearest,
    nodes_with,
    read_parameters,
    sections,
    setting_names,
)
from fl_robot_ros.setting import Settings, SettingsT, setting_type

SECTION = "parameters"
# What ROS itself declares for every node.
_ROS_OWN = ("use_sim_time", "qos_overrides", "start_type_description_service")
_WILDCARDS = ("*", "**")
_EXAMPLE = "write '/**/fl_client:', below it 'ros__parameters:', below that 'NAME: value'"


@dataclass(frozen=True)
class RobotSettings:
    """The settings that reach a robot's nodes; an invalid value is left out.

    Attributes:
        client: Those of `fl_client`.
        perception: Those of `fl_perception`.
        given: All parameters that the file gives `fl_client`, by name.
        is_given: Whether there is a file.
        data_dir: The robot's data folder, the default one where the setting names none.
    """

    client: ClientSettings
    perception: PerceptionSettings
    given: dict[str, Any]
    is_given: bool
    data_dir: Path


def read_settings(path: Path | None, namespace: str) -> RobotSettings:
    """Return the settings of a file as far as they are valid; `checks` say what is not.

    Args:
        path: The parameter file; None for the defaults.
        namespace: The robot's namespace, which begins with "/".
    """
    try:
        found = list(sections(read_parameters(path))) if path else []
    except (SettingError, ImportError, RecursionError):
        found = []
    given, perception = (
        _values_for(found, f"{namespace.rstrip('/')}/{node}")
        for node in ("fl_client", "fl_perception")
    )
    client = _valid(ClientSettings, given)
    try:
        data_dir = resolve_data_dir(client.data_dir, namespace)
    except RuntimeError:  # Told by `check_data`.
        data_dir = resolve_data_dir("", namespace)
    return RobotSettings(
        client, _valid(PerceptionSettings, perception), given, path is not None, data_dir
    )


def checks(path: Path | None, namespace: str, robot: RobotSettings) -> list[Check]:
    """Return the checks of the parameters.

    Args:
        path: The parameter file; None without one.
        namespace: The robot's namespace, which begins with "/".
        robot: What `read_settings` returns of the file.
    """
    file: list[Check] = []
    if path is not None:
        file = [Check(SECTION, "file", partial(check_file, path, namespace))]
    else:
        text = "no --params FILE: the default of every setting is checked"
        file = [Check(SECTION, "file", lambda: [ok(text)])]
    return [
        *file,
        Check(SECTION, "enrolment", partial(check_membership, robot.client)),
        Check(SECTION, "data", partial(check_data, robot.client)),
        Check(SECTION, "cameras", partial(check_cameras, robot.client)),
        Check(SECTION, "model_path", partial(check_model_path, robot.perception)),
    ]


def check_file(path: Path, namespace: str) -> Iterator[Finding]:
    """Find keys, names and values that do not do what they seem to.

    Raises:
        SettingError: The file cannot be read.
    """
    content = read_parameters(path)
    faults = [
        *_check_yaml(path.read_text(encoding="utf-8")),
        *_check_keys(content, path, namespace),
        *_check_parameters(content),
    ]
    yield from faults
    if not faults:
        names = {section.node for section in sections(content)}
        yield ok(f"{path} has parameters for {', '.join(sorted(names))}, each known and in range")


def check_membership(settings: ClientSettings) -> Iterator[Finding]:
    """Find what is wrong with enrolment, certificates and server address.

    Raises:
        SettingError: They cannot be used.
    """
    membership = Membership.from_settings(settings, os.environ)
    for line in membership.warnings:
        yield split(Level.WARNING, line)
    if settings.enrolment:
        yield ok(f"enrolled as {membership.robot} for the server {membership.server_address}")


def check_data(settings: ClientSettings) -> Iterator[Finding]:
    """Find bags and data that are not there.

    Raises:
        SettingError: The source of the training data cannot be used.
    """
    try:
        resolve_data_dir(settings.data_dir, "/")
    except RuntimeError:
        yield problem(f"data_dir is {settings.data_dir!r}: no such user", "correct the path")
    for path in settings.bag_paths:
        if not expand_path(path).exists():
            yield problem(f"bag_paths names {path}, which is not there", "correct the path")
    DataSource.from_settings(settings)


def check_cameras(settings: ClientSettings) -> Iterator[Finding]:
    """Find masks and fixed labels that are invalid or of no camera.

    Raises:
        SettingError: A mask or a label is invalid.
    """
    from fl_robot_ros.capture.camera_settings import unused_names

    for line in unused_names(settings, settings.image_topics):
        yield problem(line, "write the camera's name as in image_topics")
    if not settings.image_topics and not settings.bag_paths:
        yield warning("image_topics is empty: no camera is captured", "name the camera's topic")


def check_model_path(settings: PerceptionSettings) -> Iterator[Finding]:
    """Find a model that is not there."""
    if settings.model_path and not expand_path(settings.model_path).exists():
        yield problem(
            f"model_path of fl_perception is {settings.model_path}, which is not there",
            "correct it, or leave it empty to wait for the fleet's first model",
        )


def _check_yaml(text: str) -> Iterator[Finding]:
    """Find what ROS reads in another way than YAML's own parsers do."""
    import yaml

    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            yield problem(
                f"line {_line(event.start_mark)} has the alias *{event.anchor}, which ROS does "
                "not read",
                "write the value out",
            )
            return
    pending = [yaml.compose(text, Loader=yaml.SafeLoader)]
    while pending:
        node = pending.pop()
        if not isinstance(node, yaml.MappingNode):
            continue
        lines: dict[str, int] = {}
        for key, value in node.value:
            pending.append(value)
            name, line = str(key.value), _line(key.start_mark)
            if name in lines:
                yield warning(
                    f"'{name}' stands twice, in the lines {lines[name]} and {line}: ROS takes "
                    "both, fl_dataset and this examination the second",
                    "make one of both",
                )
            lines[name] = line


def _line(mark: Any) -> int:
    """Return the number of a line, from 1; 0 where the parser does not say."""
    return 0 if mark is None else int(mark.line) + 1


def _check_keys(content: Any, path: Path, namespace: str) -> Iterator[Finding]:
    """Find keys that mean none of our nodes, though they seem to."""
    yield from _check_nesting(content, "")
    found = [section.pattern for section in sections(content)]
    if not found:
        yield problem(f"{path} has no parameters for any node", _EXAMPLE)
    for pattern in found:
        node = pattern.rpartition("/")[2]
        if node in SETTINGS_OF_NODES:
            full_name = f"{namespace.rstrip('/')}/{node}"
            if not applies(pattern, full_name):
                yield problem(
                    f"the key '{pattern}' does not mean {full_name}, which runs on its defaults",
                    f"write '/**/{node}:', or give fl_doctor the robot's --namespace",
                )
        elif node not in _WILDCARDS and nearest(node, SETTINGS_OF_NODES):
            meant = nearest(node, SETTINGS_OF_NODES)
            yield problem(f"no node is named '{node}'", f"did you mean '{meant}'?")
    if found and not any(applies(one, f"{namespace.rstrip('/')}/fl_client") for one in found):
        yield warning(f"{path} has nothing for fl_client", _EXAMPLE)


def _check_nesting(content: Any, name: str) -> Iterator[Finding]:
    """Find nodes whose parameters do not stand below `ros__parameters`."""
    if not isinstance(content, dict):
        return
    for key, below in content.items():
        node = str(key).strip("/").rpartition("/")[2]
        if key == PARAMETERS:
            continue
        if isinstance(below, dict) and node in SETTINGS_OF_NODES and PARAMETERS not in below:
            misplaced = [str(one) for one in below if nodes_with(str(one))]
            if misplaced:
                yield problem(
                    f"'{misplaced[0]}' of {name}/{str(key).strip('/')} has no effect: it does not "
                    f"stand below '{PARAMETERS}:'",
                    _EXAMPLE,
                )
                continue
        yield from _check_nesting(below, f"{name}/{str(key).strip('/')}")


def _check_parameters(content: Any) -> Iterator[Finding]:
    """Find names and values that our nodes refuse or ignore."""
    for section in sections(content):
        if section.node in SETTINGS_OF_NODES:
            cls = SETTINGS_OF_NODES[section.node]
            for name, value in section.values.items():
                yield from _check_parameter(section, cls, name, value)
            yield from _check_together(section, cls)
        elif section.node in _WILDCARDS:
            for name, value in section.values.items():
                yield from _check_shared(section, name, value)


def _check_parameter(
    section: Section, cls: type[Settings], name: str, value: Any
) -> Iterator[Finding]:
    names, others = setting_names(cls), nodes_with(name)
    where = f"{section.pattern}: '{name}'"
    if name in names:
        yield from _check_value(section, cls, name, value)
    elif others:
        likely = nearest(name, names)
        yield problem(
            f"{where} has no effect: it is a setting of {' and '.join(others)}",
            f"did you mean '{likely}'?" if likely else f"move it to '/**/{others[0]}:'",
        )
    elif nearest(name, names):
        yield problem(f"{where} is no setting", f"did you mean '{nearest(name, names)}'?")
    elif name.partition(".")[0] not in _ROS_OWN:
        yield warning(
            f"{where} is no setting, and ROS ignores it",
            f"see docs/settings.md, or {section.node} --help",
        )


def _check_together(section: Section, cls: type[Settings]) -> Iterator[Finding]:
    """Find values that contradict each other."""
    values = _valid_alone(cls, section.values)
    try:
        cls(**values)
    except SettingError as error:
        found = split(Level.PROBLEM, str(error))
        yield problem(f"{section.pattern}: {found.text}", found.fix)


def _check_shared(section: Section, name: str, value: Any) -> Iterator[Finding]:
    """Check a parameter for all nodes, of which others than ours may know it."""
    owners = [cls for cls in SETTINGS_OF_NODES.values() if name in setting_names(cls)]
    for cls in owners:
        yield from _check_value(section, cls, name, value)
    likely = nearest(
        name, {one for cls in SETTINGS_OF_NODES.values() for one in setting_names(cls)}
    )
    if not owners and likely:
        yield problem(
            f"{section.pattern}: '{name}' is no setting of ours", f"did you mean '{likely}'?"
        )


def _check_value(
    section: Section, cls: type[Settings], name: str, value: Any
) -> Iterator[Finding]:
    try:
        cls(**{name: _as_ros_reads(cls, name, value)})
    except SettingError as error:
        found = split(Level.PROBLEM, str(error))
        yield problem(f"{section.pattern}: {found.text}", found.fix)


def _as_ros_reads(cls: type[Settings], name: str, value: Any) -> Any:
    """Return a value as rcl's parser and our nodes take it; PyYAML takes 1e-3 for a text."""
    if setting_type(cls, name) is float and isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return as_setting(cls, name, value)


def _values_for(found: list[Section], full_name: str) -> dict[str, Any]:
    """Return the parameters that reach a node; of a name given twice the later one."""
    values: dict[str, Any] = {}
    for section in found:
        if applies(section.pattern, full_name):
            values.update(section.values)
    return values


def _valid(cls: type[SettingsT], values: dict[str, Any]) -> SettingsT:
    """Return the settings with the values that are valid, and contradict none before them."""
    settings = cls()
    for name, value in _valid_alone(cls, values).items():
        try:
            settings = replace(settings, **{name: value})
        except SettingError:
            continue
    return settings


def _valid_alone(cls: type[Settings], values: dict[str, Any]) -> dict[str, Any]:
    """Return the values that are valid one by one."""
    taken: dict[str, Any] = {}
    for name in setting_names(cls):
        if name in values:
            value = _as_ros_reads(cls, name, values[name])
            try:
                cls(**{name: value})
            except SettingError:
                continue
            taken[name] = value
    return taken
