"""The labels in a list, and the contradictions among its rows."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from fl_robot_ros.errors import LabelError

_MAX_NAMED = 3

Key = TypeVar("Key", bound=Hashable)


@dataclass
class AgreedLabels(Generic[Key]):
    """Collects the labels of a list and its contradictions.

    Attributes:
        labels: Label by key.
        lines: Line of each key's first row.
    """

    labels: dict[Key, str] = field(default_factory=dict)
    lines: dict[Key, int] = field(default_factory=dict)
    _contradictions: list[str] = field(default_factory=list)

    def add(self, key: Key, label: str, line: int, name: str) -> None:
        """Add the label of a row.

        Args:
            key: The labelled thing.
            label: The label.
            line: The row's line, counted from 1.
            name: Name of the key in messages to people.
        """
        first_line = self.lines.setdefault(key, line)
        first = self.labels.setdefault(key, label)
        if label != first:
            self.contradict(
                f"line {line}: {name} has the label {label!r}, and {first!r} in line {first_line}"
            )

    def contradict(self, text: str) -> None:
        """Add a contradiction, in one line."""
        self._contradictions.append(text)

    def check(self) -> None:
        """Check that there is no contradiction.

        Raises:
            LabelError: There are some; the message names the first few.
        """
        if self._contradictions:
            more = len(self._contradictions) - _MAX_NAMED
            rest = f"; and {more:,} more" if more > 0 else ""
            raise LabelError("; ".join(self._contradictions[:_MAX_NAMED]) + rest)
