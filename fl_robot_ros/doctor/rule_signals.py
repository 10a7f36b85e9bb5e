"""Checks of the topics that the rules of learning read, but for the battery."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fl_robot_ros.autonomy import machine
from fl_robot_ros.autonomy.rules import LearningRules
from fl_robot_ros.config import ClientSettings
from fl_robot_ros.doctor.finding import Finding, problem, warning
from fl_robot_ros.doctor.robot_graph import RobotGraph
from fl_robot_ros.errors import SettingError
from fl_robot_ros.name_list import name_list

# What is taken from an fl_client that runs.
SETTINGS = ("learn_when", "learn_while", "motion_topics", "action_names", "temperature_topic")
_MOTION_TYPES = (
    "geometry_msgs/msg/Twist",
    "geometry_msgs/msg/TwistStamped",
    "nav_msgs/msg/Odometry",
)
_BOOL_TYPES, _TEMPERATURE_TYPES = ("std_msgs/msg/Bool",), ("sensor_msgs/msg/Temperature",)
_STATUS = "/_action/status"


def check_rule_signals(graph: RobotGraph, settings: ClientSettings | None) -> Iterator[Finding]:
    """Find rules that cannot hold, since nobody publishes what they read.

    Args:
        graph: What was seen.
        settings: Settings of `fl_client`; None for those of one that runs.
    """
    try:
        settings = settings or ClientSettings(**_running(graph.client_parameters))
        found = LearningRules.from_settings(settings)
    except SettingError:
        return  # Told among the parameters.
    rules = (*found.to_begin, *found.to_go_on)
    signals = {rule.signal for rule in rules}
    if "still" in signals:
        for name in settings.motion_topics:
            yield from _check_topic(graph, name, _MOTION_TYPES, "still", "motion_topics")
    if "no_goal" in signals:
        yield from _check_actions(graph, settings.action_names)
    for topic in dict.fromkeys(rule.topic for rule in rules if rule.topic):
        yield from _check_topic(graph, topic, _BOOL_TYPES, f"topic {topic}", "the rule")
    if "temperature" in signals and settings.temperature_topic:
        name = settings.temperature_topic
        yield from _check_topic(
            graph, name, _TEMPERATURE_TYPES, "temperature", "temperature_topic"
        )
    elif "temperature" in signals and not machine.temperature().is_known:
        yield warning(
            "the rule 'temperature' never holds: this computer has no thermal zone",
            "set temperature_topic, or leave the rule out",
        )


def _running(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of an `fl_client` that runs, as far as it told them."""
    given = {name: parameters[name] for name in SETTINGS if parameters.get(name) is not None}
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in given.items()
    }


def _check_topic(
    graph: RobotGraph, name: str, wanted: Iterable[str], rule: str, setting: str
) -> Iterator[Finding]:
    full_name = graph.full_name(name)
    types = graph.types.get(full_name, [])
    others = name_list(
        topic for topic, found in sorted(graph.types.items()) if {*found} & {*wanted}
    )
    fix = f"correct {setting}; there are {others}" if others else "start what publishes it"
    if not types:
        yield warning(f"nobody publishes {full_name}: the rule '{rule}' does not hold", fix)
    elif not {*types} <= {*wanted} or len(types) > 1:
        yield problem(
            f"{full_name} carries {name_list(types)}: the rule '{rule}' takes one of "
            f"{name_list(wanted)}",
            fix,
        )


def _check_actions(graph: RobotGraph, names: Iterable[str]) -> Iterator[Finding]:
    if any(graph.full_name(name) + _STATUS in graph.types for name in names):
        return
    others = name_list(
        topic.removesuffix(_STATUS) for topic in sorted(graph.types) if topic.endswith(_STATUS)
    )
    yield warning(
        f"none of the actions {name_list(names)} has a server: the rule 'no_goal' does not hold",
        f"correct action_names; there are {others}" if others else "start the robot's navigation",
    )
