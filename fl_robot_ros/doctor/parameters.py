"""Checks of the parameters: the file, and what its values name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from fl_robot_ros.autonomy.rules import LearningRules, parse_rule
from fl_robot_ros.config import ClientSettings, PerceptionSettings, expand_path, resolve_data_dir
from fl_robot_ros.data_source import DataSource
from fl_robot_ros.doctor.finding import Check, Finding, Level, ok, problem, split, warning
from fl_robot_ros.doctor.parameter_faults import check_file, valid_alone
from fl_robot_ros.errors import SettingError
from fl_robot_ros.identity.membership import Membership
from fl_robot_ros.robot.parameter_file import Section, applies, read_parameters, sections
from fl_robot_ros.setting import SettingsT

SECTION = "parameters"
# As ROS has it, with "~" for the node's own name and substitutions in braces.
_TOPIC_NAME = re.compile(r"(~?/)?[A-Za-z_{][A-Za-z0-9_{}]*(/[A-Za-z_{][A-Za-z0-9_{}]*)*")


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
        Check(SECTION, "rules", partial(check_rules, robot.client)),
        Check(SECTION, "model_path", partial(check_model_path, robot.perception)),
    ]


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


def check_rules(settings: ClientSettings) -> Iterator[Finding]:
    """Find rules of learning with which `fl_client` does not start.

    Raises:
        SettingError: The rules lack something.
    """
    is_valid = True
    for name in ("learn_when", "learn_while"):
        for rule in getattr(settings, name):
            try:
                parse_rule(rule)
            except SettingError as error:
                is_valid = False
                yield problem(f"{name}: {error}", "see the grammar in docs/autonomy.md")
    if not is_valid:
        return
    rules = LearningRules.from_settings(settings)
    every = (*rules.to_begin, *rules.to_go_on)
    names = {"learn_when or learn_while": [rule.topic for rule in every if rule.topic]}
    for signal, setting in (("still", "motion_topics"), ("no_goal", "action_names")):
        if any(rule.signal == signal for rule in every):
            names[setting] = list(getattr(settings, setting))
    for setting, given in names.items():
        for name in given:
            if not _TOPIC_NAME.fullmatch(name):
                yield problem(
                    f"{setting}: {name!r} can be no topic",
                    "write letters, digits and '_', parts between '/', none with a digit first",
                )


def check_model_path(settings: PerceptionSettings) -> Iterator[Finding]:
    """Find a model that is not there."""
    if settings.model_path and not expand_path(settings.model_path).exists():
        yield problem(
            f"model_path of fl_perception is {settings.model_path}, which is not there",
            "correct it, or leave it empty to wait for the fleet's first model",
        )


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
    for name, value in valid_alone(cls, values).items():
        try:
            settings = replace(settings, **{name: value})
        except SettingError:
            continue
    return settings
