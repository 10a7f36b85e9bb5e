"""The robots that were not in the run before, and what kept them from it."""

from __future__ import annotations

from collections.abc import Sequence

from fl_robot_ros.cloud.history import History
from fl_robot_ros.cloud.update_check import Reply
from fl_robot_ros.name_list import name_list

# Lines about single robots in a run; the history has all of them.
_MOST_LINES = 8


class ReturnedRobots:
    """Tells the operator of each such robot, once in a run, what it says itself.

    Attributes:
        run_before: Beginning and end of the run before, as timestamps in s; () without one.
    """

    def __init__(self, run: int, history: History) -> None:
        """Know who was in the run before, and who is in this one since before a restart.

        Args:
            run: Number of the run.
            history: Knows the runs, and takes lines for the operator.
        """
        self._history = history
        self.run_before: tuple[float, float] | tuple[()] = ()
        self._number = 0
        self._known: set[str] = set()
        self._lines = 0
        before = history.run_before(run)
        if before is not None:
            self._number, began, ended = before
            self.run_before = began, ended
            self._known = history.robots_in(self._number) | history.robots_in(run)

    def take(self, replies: Sequence[Reply]) -> None:
        """Tell of the robots that reply for the first time in this run."""
        if not self._number:
            return
        back = {
            reply.robot: reply.hindrance
            for reply in replies
            if reply.hindrance and reply.robot not in self._known
        }
        self._known |= {*back}
        names = sorted(back)
        told = names[: _MOST_LINES - self._lines]
        self._lines += len(told)
        for name in told:
            self._history.add_event(f"{name} was not in run {self._number}: {back[name]}")
        more = names[len(told) :]
        if more:
            self._history.add_event(
                f"not in run {self._number} either: {name_list(more)}; the history says why"
            )
