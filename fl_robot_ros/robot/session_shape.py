"""The shape of a run: one letter for each step that the robot took.

    -  the server has taken the robot in       v  it was asked to train
    [  the training began                      ]  and ended
    +  the update was sent                     ^  and taken, or # not taken
    ~  a pause                                 !  the run did not come to its end

The letters are those of Google's federated learning (Bonawitz et al., "Towards Federated Learning
at Scale", 2019, table 1), but for the pause. A round like one before is not written again, so that
most runs of a fleet have one of few shapes, which can be counted.
"""

from __future__ import annotations

from fl_robot_ros.worker_link.event import Delivered, Dismissed, Dropped, Event, Progress
from fl_robot_ros.worker_link.run_status import RunState

_MOST_CHARACTERS = 60


class SessionShape:
    """Follows the events of one run."""

    def __init__(self) -> None:
        """Start before the first event."""
        self._rounds: list[str] = [""]
        self._is_training = False
        self._is_complete = False

    def __str__(self) -> str:
        rounds = [part for number, part in enumerate(self._rounds) if self._is_new(number)]
        return "".join(rounds)[:_MOST_CHARACTERS]

    def take(self, event: Event) -> None:
        """Take an event of the worker."""
        if isinstance(event, Progress):
            self._take_state(event.state)
        elif isinstance(event, Dropped) and self._rounds[-1].endswith("^"):
            self._rounds[-1] = self._rounds[-1][:-1] + "#"
        elif isinstance(event, (Delivered, Dismissed)):
            self._is_complete = True

    def end(self) -> None:
        """Take the end of the run."""
        if not self._is_complete:
            self._rounds.append("!")

    def _take_state(self, state: RunState) -> None:
        if state == RunState.PAUSED:
            if not self._rounds[-1].endswith("~"):
                self._rounds[-1] += "~"
        elif state == RunState.TRAINING:
            if not self._is_training:
                self._rounds.append("v[")
            self._is_training = True
        else:
            if self._is_training:
                self._rounds[-1] += "]+^"
            elif state == RunState.WAITING and "-" not in self._rounds[0]:
                self._rounds[0] += "-"
            self._is_training = False

    def _is_new(self, number: int) -> bool:
        """Say whether no round before was like this one."""
        return self._rounds[number] not in self._rounds[:number]
