"""The goals of a robot's actions, from action_msgs/GoalStatusArray."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from fl_robot_ros.autonomy.last_word import LastWord
from fl_robot_ros.autonomy.reading import Reading
from fl_robot_ros.name_list import name_list

# Accepted, executing, canceling; 4 to 6 are the ends of a goal.
_ACTIVE = (1, 2, 3)
# How long the last status of a server that was there before may take to arrive: DDS repeats after
# 3 s what got lost.
_ARRIVAL_SEC = 4.0


@dataclass
class _Action:
    """What is known of one action.

    Attributes:
        last_word: Its servers, and who sent the newest status.
        is_latched: Whether the last status of each server reaches a late subscriber.
        seen_at: Monotonic time in s at which the newest server came.
        has_goal: Whether a goal is active in the newest status of a server that lives.
    """

    last_word: LastWord = field(default_factory=LastWord)
    is_latched: bool = False
    seen_at: float = -math.inf
    has_goal: bool = False


class ActionGoals:
    """Follows the goals of actions. A goal is active only while its server lives.

    The status is latched, so that the last one of a server that crashed says for ever that its
    goal is executing; a server that starts again publishes none before its first goal.
    """

    def __init__(self, names: Iterable[str]) -> None:
        """Know nothing yet of the actions of these names."""
        self._actions = {name: _Action() for name in names}
        self._free_since = -math.inf

    def see(self, name: str, servers: frozenset[object], *, is_latched: bool, now: float) -> None:
        """Take what the graph shows of an action.

        Args:
            name: The action.
            servers: Its servers, told apart by any value.
            is_latched: Whether the last status of each reaches a late subscriber.
            now: Monotonic time in s.
        """
        action = self._actions[name]
        if servers - action.last_word.publishers:
            action.seen_at = now
        action.last_word.see(servers, now)
        action.is_latched = is_latched
        if action.last_word.is_lost(now):
            self._set_goal(action, has_goal=False, now=now)

    def take(self, name: str, statuses: Sequence[int], now: float) -> None:
        """Take a status, after a look at the graph.

        Args:
            name: The action.
            statuses: The status of each of its goals.
            now: Monotonic time in s.
        """
        action = self._actions[name]
        action.last_word.hear(now)
        self._set_goal(action, has_goal=any(code in _ACTIVE for code in statuses), now=now)

    def no_goal(self, now: float) -> Reading:
        """Return whether no action has an active goal."""
        busy = [name for name, action in self._actions.items() if action.has_goal]
        if busy:
            return Reading(0, f"a goal is active on {name_list(busy)}")
        if all(action.seen_at == -math.inf for action in self._actions.values()):
            return Reading.unknown(f"there has been no server of {name_list(self._actions)}")
        for name, action in self._actions.items():
            if not action.last_word.publishers or action.last_word.is_heard:
                continue
            if not action.is_latched:
                return Reading.unknown(f"no status of {name} yet")
            if now - action.seen_at < _ARRIVAL_SEC:
                return Reading.unknown(f"the server of {name} has just come")
        return Reading(1, "no goal", self._free_since)

    def _set_goal(self, action: _Action, *, has_goal: bool, now: float) -> None:
        if has_goal or action.has_goal:
            self._free_since = now
        action.has_goal = has_goal
