"""Settings as dataclass fields with default, unit, range and description.

Stays on Python 3.10 and free of third-party imports.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, get_type_hints

from fl_robot_ros.errors import SettingError

SettingsT = TypeVar("SettingsT", bound="Settings")


def setting(
    default: Any,
    description: str,
    *,
    unit: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str | int, ...] = (),
) -> Any:
    """Declare one setting as a dataclass field.

    Args:
        default: Value where the user gives none. Its type is the type of the setting; a list is
            a tuple of strings.
        description: One sentence, for users.
        unit: Physical unit, "" where there is none.
        minimum: Smallest allowed number, inclusive.
        maximum: Largest allowed number, inclusive.
        choices: The allowed values, empty for any.
    """
    metadata = {
        "description": description,
        "unit": unit,
        "minimum": minimum,
        "maximum": maximum,
        "choices": choices,
    }
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Settings:
    """Base of all settings classes; a settings object always holds valid values."""

    def __post_init__(self) -> None:
        """Check each field, then the fields together.

        Raises:
            SettingError: A value has the wrong type, is out of range or contradicts another.
        """
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, _checked(field, getattr(self, field.name)))
        self.check()

    def check(self) -> None:
        """Check what depends on several settings, or on more than type and range.

        Raises:
            SettingError: The settings cannot work together.
        """

    @classmethod
    def from_mapping(cls: type[SettingsT], values: Mapping[str, Any]) -> SettingsT:
        """Make settings from names and values, as read from a YAML file.

        Raises:
            SettingError: A name is unknown, or a value is invalid.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        for name in values:
            if name not in known:
                raise SettingError(
                    f"unknown setting '{name}'; the settings are: {', '.join(known)}"
                )
        return cls(**values)


def describe_range(field: dataclasses.Field[Any]) -> str:
    """Return the allowed values of a setting in words; "" for any value of its type."""
    choices = field.metadata["choices"]
    if choices:
        return " or ".join(map(repr, choices))
    minimum, maximum = field.metadata["minimum"], field.metadata["maximum"]
    if minimum is not None and maximum is not None:
        return f"{minimum:.15g} to {maximum:.15g}"
    if minimum is not None:
        return f"{minimum:.15g} or more"
    return ""


def setting_type(cls: type[Settings], name: str) -> type:
    """Return the type of a setting: bool, int, float, str or tuple."""
    kind = get_type_hints(cls)[name]
    return kind if isinstance(kind, type) and kind in (bool, int, float, str) else tuple


def _checked(field: dataclasses.Field[Any], value: Any) -> Any:
    """Return the value in the type of the setting.

    Raises:
        SettingError: The value has the wrong type or is out of range.
    """
    kind: Any = type(field.default)
    allowed = describe_range(field)
    if kind is tuple and isinstance(value, (list, tuple)):
        if not all(isinstance(item, str) for item in value):
            raise SettingError(f"{field.name} is {value!r}; expected a list of strings")
        # ROS 2 cannot express an empty list of strings, so [""] stands for it.
        return tuple(item for item in value if item)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind:
        raise SettingError(f"{field.name} is {value!r}; expected {_TYPE_NAMES[kind]}")
    if kind in (int, float):
        minimum, maximum = field.metadata["minimum"], field.metadata["maximum"]
        too_small = minimum is not None and value < minimum
        too_large = maximum is not None and value > maximum
        if too_small or too_large or not math.isfinite(float(value)):
            unit = f" {field.metadata['unit']}" if field.metadata["unit"] else ""
            raise SettingError(
                f"{field.name} is {value!r}; expected {allowed or 'a finite number'}{unit}"
            )
    choices = field.metadata["choices"]
    if choices and value not in choices:
        raise SettingError(f"{field.name} is {value!r}; expected {allowed}")
    if value == "" and field.default:
        raise SettingError(f"{field.name} is {value!r}; expected a text like {field.default!r}")
    return value


_TYPE_NAMES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a string",
    tuple: "a list of strings",
}
