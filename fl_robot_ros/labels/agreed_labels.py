"""Labels that the rows of a list give, as far as they agree."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from fl_robot_ros.errors import LabelError

_MAX_NAMED = 3

Key = TypeVar("Key", bound=Hashable)


@dataclass
class AgreedLabels(Generic[Key]):
    """Collects labels by what the rows of a list name, and where these contradict each other.

    Attributes:
        labels: Label by key.
        lines: Line of each key's first row.
    """

    labels: dict[Key, str] = field(default_factory=dict)
    lines: dict[Key, int] = field(default_factory=dict)
    _contradictions: list[str] = field(default_factory=list)

    def add(self, key: Key, label: str, line: int, name: str) -> None:
        """Give a key the label of a row.

        Args:
            key: What the row names.
            label: The label.
            line: The row's line, counted from 1.
            name: What people know the key by.
        """
        first_line = self.lines.setdefault(key, line)
        first = self.labels.setdefault(key, label)
        if label != first:
            self.contradict(
                f"line {line}: {name} has the label {label!r}, and {first!r} in line {first_line}"
            )

    def contradict(self, text: str) -> None:
        """Note another contradiction, with its line."""
        self._contradictions.append(text)

    def check(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            LabelError: There is a contradiction; the message names the first few.
        """
        if self._contradictions:
            more = len(self._contradictions) - _MAX_NAMED
            rest = f"; and {more:,} more" if more > 0 else ""
            raise LabelError("; ".join(self._contradictions[:_MAX_NAMED]) + rest)
