"""Runs checks one after the other, so that none disturbs what another measures."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from fl_robot_ros.dependency import describe_unimportable
from fl_robot_ros.doctor.finding import (
    Check,
    Finding,
    Level,
    of_error,
    problem,
    split,
    warning,
)
from fl_robot_ros.errors import FlRobotError
from fl_robot_ros.one_line import one_line


class Result(NamedTuple):
    """A finding with its place; the fields are the names in `fl_doctor --json`."""

    section: str
    check: str
    level: Level
    text: str
    fix: str


def examine(checks: Iterable[Check]) -> Iterator[Result]:
    """Yield what the checks find, in their order.

    A check that fails is a finding itself, and one that hangs is left to itself.
    """
    for check in checks:
        for found in _run(check):
            yield Result(
                check.section, check.name, found.level, one_line(found.text), one_line(found.fix)
            )


def _run(check: Check) -> list[Finding]:
    """Return what a check finds in its time."""
    found: list[Finding] = []
    done: list[Finding] = []

    def work() -> None:
        try:
            found.extend(check.find())
        except Exception as error:
            done.append(_of_failure(check, error))

    # A daemon: a disk of the network that is away holds the process up no longer than the check.
    thread = threading.Thread(target=work, name=check.name, daemon=True)
    thread.start()
    thread.join(check.timeout_sec)
    if thread.is_alive():
        return [
            *found,
            problem(
                f"the check '{check.name}' did not end within {check.timeout_sec:g} s",
                "look whether a disk, the name server or ROS' daemon hangs",
            ),
        ]
    return [*found, *done]


def _of_failure(check: Check, error: Exception) -> Finding:
    """Return the finding of a check that could not be made."""
    if isinstance(error, FlRobotError):
        return of_error(error)
    if isinstance(error, subprocess.TimeoutExpired):
        return problem(
            f"the check '{check.name}' did not end within {error.timeout:g} s",
            "look whether this machine is overloaded, or a disk hangs",
        )
    if isinstance(error, ImportError):
        return split(
            Level.WARNING,
            f"the check '{check.name}' was left out: {describe_unimportable(error)}",
        )
    if isinstance(error, OSError):
        return problem(f"the check '{check.name}' failed: {error}")
    return warning(
        f"the check '{check.name}' failed: {type(error).__name__}: {error}",
        "tell the maintainers of fl_robot_ros",
    )
