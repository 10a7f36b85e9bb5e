"""Checks of the fields of a manifest: each by name, with a message that says what is expected."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from fl_robot_ros.errors import FlRobotError, ModelError
from fl_robot_ros.images.preprocessing import Preprocessing
from fl_robot_ros.labels.label_text import clean_label

_MAX_TEXT = 1024
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,254}")
_RATES = ("recall", "recall_before")


def check_field(name: str, value: Any) -> None:
    """Check the value of a field.

    Args:
        name: Name of a field of `Manifest`.
        value: Its value, of any type.

    Raises:
        ModelError: The value has the wrong type or is invalid.
    """
    _CHECKS[name](name, value)


def _refuse(name: str, value: Any, expected: str) -> None:
    raise ModelError(f"manifest: {name} is {str(value)[:200]!r}; expected {expected}")


def _check_text(name: str, value: Any) -> None:
    if not isinstance(value, str) or len(value) > _MAX_TEXT or not value.isprintable():
        _refuse(name, value, f"printable text of at most {_MAX_TEXT} characters")


def _check_statement(name: str, value: Any) -> None:
    if not isinstance(value, str) or not value.isprintable():
        _refuse(name, value, "printable text")


def _check_version(name: str, value: Any) -> None:
    if not isinstance(value, str) or not _FILE_NAME.fullmatch(value):
        _refuse(name, value, "a plain folder name")


def _check_previous(name: str, value: Any) -> None:
    if value != "":
        _check_version(name, value)


def _check_number(name: str, value: Any) -> None:
    if type(value) is not int or value < 0:
        _refuse(name, value, "a whole number of 0 or more")


def _check_bool(name: str, value: Any) -> None:
    if type(value) is not bool:
        _refuse(name, value, "true or false")


def _check_schema_version(name: str, value: Any) -> None:
    if type(value) is not int or value < 1:
        _refuse(name, value, "a whole number of 1 or more")


def _check_files(name: str, value: Any) -> None:
    if not isinstance(value, dict):
        _refuse(name, value, "SHA-256 by file name")
    for file_name, digest in value.items():
        if not isinstance(file_name, str) or not _FILE_NAME.fullmatch(file_name):
            _refuse(name, file_name, "plain file names")
        if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            _refuse(f"{name}['{file_name}']", digest, "64 lower-case hexadecimal digits")


def _check_classes(name: str, value: Any) -> None:
    if not isinstance(value, list) or not value:
        _refuse(name, value, "a list of one or more class names")
    for item in value:
        try:
            clean = clean_label(item)
        except FlRobotError as error:
            raise ModelError(f"manifest: {name}: {error}") from error
        if not clean or clean != item:
            _refuse(name, item, "class names without outer spaces, none of them empty")
    if len(set(value)) != len(value):
        _refuse(name, value, "different class names")


def _check_preprocessing(name: str, value: Any) -> None:
    if not isinstance(value, Mapping):
        _refuse(name, value, "height, width, channels and scale")
    Preprocessing.from_dict(value)


def _check_metrics(name: str, value: Any) -> None:
    if not isinstance(value, dict):
        _refuse(name, value, "numbers by name")
    for key, number in value.items():
        _check_text(f"{name}: a name", key)
        if not _is_finite(number):
            _refuse(f"{name}['{key}']", number, "a finite number")


def _is_finite(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # An integer beyond the floats.
        return False


def _check_per_class(name: str, value: Any) -> None:
    if not isinstance(value, dict):
        _refuse(name, value, "images and recall by class name")
    for key, numbers in value.items():
        _check_text(f"{name}: a name", key)
        where = f"{name}['{key}']"
        if not isinstance(numbers, dict) or not {"images"} <= set(numbers) <= {"images", *_RATES}:
            _refuse(where, numbers, f"images, and where it is known {' and '.join(_RATES)}")
        _check_number(f"{where}['images']", numbers["images"])
        for rate in _RATES:
            number = numbers.get(rate, 0)
            if not (_is_finite(number) and 0 <= number <= 1):
                _refuse(f"{where}['{rate}']", number, "a number from 0 to 1")


_CHECKS: dict[str, Callable[[str, Any], None]] = {
    "schema_version": _check_schema_version,
    "version": _check_version,
    "created": _check_text,
    "files": _check_files,
    "classes": _check_classes,
    "preprocessing": _check_preprocessing,
    "metrics": _check_metrics,
    "per_class": _check_per_class,
    "accepted": _check_bool,
    "reason": _check_text,
    "snapshot": _check_text,
    "run": _check_number,
    "round": _check_number,
    "server": _check_text,
    "robot": _check_text,
    "previous": _check_previous,
    "counter": _check_number,
    "statement": _check_statement,
    "signature": _check_text,
    "key_id": _check_text,
}
