"""Robots that did not reply: they are left out of the next rounds, the longer the more often."""

from __future__ import annotations

from collections.abc import Collection

_MAX_REST = 8


class SilentRobots:
    """Remembers who was silent."""

    def __init__(self) -> None:
        """Remember nobody."""
        self._times: dict[int, int] = {}
        self._until: dict[int, int] = {}

    def note(self, server_round: int, replied: Collection[int], silent: Collection[int]) -> None:
        """Note who replied in a round, and who did not."""
        for node in replied:
            self._times.pop(node, None)
            self._until.pop(node, None)
        for node in silent:
            self._times[node] = self._times.get(node, 0) + 1
            self._until[node] = server_round + min(2 ** (self._times[node] - 1), _MAX_REST)

    def resting(self, server_round: int) -> set[int]:
        """Return the robots to be left out of a round; they rest for 1, 2, 4, then 8 rounds."""
        return {node for node, last in self._until.items() if server_round <= last}
