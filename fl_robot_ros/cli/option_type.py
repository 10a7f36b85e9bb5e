"""Types of command-line options, for argparse."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from fl_robot_ros.config import expand_path
from fl_robot_ros.errors import FlRobotError
from fl_robot_ros.setting import Settings

_Value = TypeVar("_Value")


def option_type(parse: Callable[[str], _Value]) -> Callable[[str], _Value]:
    """Return a type for argparse that reports an invalid value with the parser's own message.

    Args:
        parse: Reads the value; raises FlRobotError or ValueError for an invalid one.
    """

    def read(text: str) -> _Value:
        try:
            return parse(text)
        except (FlRobotError, ValueError) as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return read


def whole_number(minimum: int) -> Callable[[str], int]:
    """Return a type for whole numbers from a minimum to 999999999."""

    def read(text: str) -> int:
        if not (text.isdecimal() and len(text) < 10 and int(text) >= minimum):
            raise ValueError(f"{text!r} is not a whole number from {minimum} to 999999999")
        return int(text)

    return option_type(read)


def setting_value(cls: type[Settings], name: str) -> Callable[[str], float]:
    """Return a type for an option that sets a numeric setting, with its range."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError as error:
            raise ValueError(f"{text!r} is not a number") from error
        return float(getattr(cls.from_mapping({name: value}), name))

    return option_type(read)


@option_type
def full_path(text: str) -> Path:
    """Return an absolute path with ~ and environment variables expanded."""
    # An unset variable would otherwise mean the current folder.
    if not text:
        raise ValueError("the path is empty")
    try:
        return expand_path(text)
    except RuntimeError as error:
        raise ValueError(f"{text!r} names an unknown user") from error


@option_type
def topic_list(text: str) -> list[str]:
    """Return topic names separated by commas."""
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise ValueError(f"{text!r}; expected names of topics, as front/image,rear/image")
    return names
