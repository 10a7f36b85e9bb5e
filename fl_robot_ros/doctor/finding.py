"""What a check finds, and a check itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from fl_robot_ros.errors import FlRobotError


class Level(str, Enum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Finding:
    """One thing that a check found.

    Attributes:
        level: How bad it is.
        text: What is so, in one line.
        fix: What to do about it, in one line; "" where there is nothing to do.
    """

    level: Level
    text: str
    fix: str = ""


class Check(NamedTuple):
    """A part of the examination.

    Attributes:
        section: Heading under which its findings stand.
        name: Its name for scripts.
        find: Returns what it finds; changes nothing. May raise anything.
        timeout_sec: How long it may take.
    """

    section: str
    name: str
    find: Callable[[], Iterable[Finding]]
    timeout_sec: float = 10.0


def ok(text: str) -> Finding:
    """Return a finding that all is well."""
    return Finding(Level.OK, text)


def warning(text: str, fix: str = "") -> Finding:
    """Return a finding of something that may be meant so."""
    return Finding(Level.WARNING, text, fix)


def problem(text: str, fix: str = "") -> Finding:
    """Return a finding of something that cannot work."""
    return Finding(Level.PROBLEM, text, fix)


def split(level: Level, line: str) -> Finding:
    """Return the finding of a line that says what is wrong and then what to do."""
    for mark in ("; ", ": set ", ": use "):
        text, found, fix = line.partition(mark)
        if found:
            return Finding(level, text, f"{found.strip('; :')} {fix}".strip())
    return Finding(level, line)


def of_error(error: FlRobotError) -> Finding:
    """Return the finding of an error of this package, whose message says what to do."""
    return split(Level.PROBLEM, str(error))
