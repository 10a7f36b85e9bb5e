"""Faults of a parameter file: keys, names and values that do not do what they seem to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fl_robot_ros.doctor.finding import Finding, Level, ok, problem, split, warning
from fl_robot_ros.errors import SettingError
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
from fl_robot_ros.setting import Settings, setting_type

# What ROS itself declares for every node.
_SIM_TIME = "use_sim_time"
_ROS_OWN = (_SIM_TIME, "qos_overrides", "start_type_description_service")
_WILDCARDS = ("*", "**")
_EXAMPLE = "write '/**/fl_client:', below it 'ros__parameters:', below that 'NAME: value'"


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
    yield from dict.fromkeys(faults)  # what is wrong for several nodes is told once
    if not faults:
        names = {section.node for section in sections(content)}
        yield ok(f"{path} has parameters for {', '.join(sorted(names))}, each known and in range")


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
        if section.node in (*SETTINGS_OF_NODES, *_WILDCARDS):
            yield from _check_clock(section)
        if section.node in SETTINGS_OF_NODES:
            cls = SETTINGS_OF_NODES[section.node]
            for name, value in section.values.items():
                yield from _check_parameter(section, cls, name, value)
            yield from _check_together(section, cls)
        elif section.node in _WILDCARDS:
            for name, value in section.values.items():
                yield from _check_shared(section, name, value)


def _check_clock(section: Section) -> Iterator[Finding]:
    """Find a value that ends every node, of the one parameter of ROS that people set."""
    value = section.values.get(_SIM_TIME, False)
    if not isinstance(value, bool):
        yield problem(
            f"{section.pattern}: {_SIM_TIME} is {value!r}", "write true or false, without quotes"
        )


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
    values = valid_alone(cls, section.values)
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
        cls(**{name: as_ros_reads(cls, name, value)})
    except SettingError as error:
        found = split(Level.PROBLEM, str(error))
        yield problem(f"{section.pattern}: {found.text}", found.fix)


def as_ros_reads(cls: type[Settings], name: str, value: Any) -> Any:
    """Return a value as rcl's parser and our nodes take it; PyYAML takes 1e-3 for a text."""
    if setting_type(cls, name) is float and isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return as_setting(cls, name, value)


def valid_alone(cls: type[Settings], values: dict[str, Any]) -> dict[str, Any]:
    """Return the values that are valid one by one."""
    taken: dict[str, Any] = {}
    for name in setting_names(cls):
        if name in values:
            value = as_ros_reads(cls, name, values[name])
            try:
                cls(**{name: value})
            except SettingError:
                continue
            taken[name] = value
    return taken
