"""The state of a robot in a run."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import Enum

# What the detail of the state after a complete run begins with.
FINISHED = "the run is finished"


class RunState(str, Enum):
    """What a robot does in a run; the value is the message of `fl/status`."""

    IDLE = "idle"
    CONNECTING = "connecting"
    WAITING = "waiting"
    TRAINING = "training"
    EVALUATING = "evaluating"
    DELIVERING = "delivering"
    PAUSED = "paused"
    FAILED = "failed"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class RunStatus:
    """The state of one robot at one moment.

    Attributes:
        state: What the robot does.
        detail: One line for people: the newest step, or why the run failed.
        run: Number of the server's run; 0 before the robot knows it.
        round: Number of the round, since the server's first run.
        rounds: Number of the run's last round.
        epoch: Finished epochs of this round.
        epochs: Epochs of this round.
        loss: Newest loss, of training or evaluation.
        accuracy: Newest accuracy, 0 to 1.
        samples: Labelled images in the dataset when the run began; 0 for another data source.
        data: The learning data in one line: as frozen, later as the worker could read it.
        dropped: Replies of this run that the server did not take.
    """

    state: RunState = RunState.IDLE
    detail: str = ""
    run: int = 0
    round: int = 0
    rounds: int = 0
    epoch: int = 0
    epochs: int = 0
    loss: float | None = None
    accuracy: float | None = None
    samples: int = 0
    data: str = ""
    dropped: int = 0

    @property
    def is_active(self) -> bool:
        """Whether a run is in progress."""
        return self.state not in (RunState.IDLE, RunState.FAILED)

    @property
    def is_finished(self) -> bool:
        """Whether the newest run came to its end."""
        return self.state == RunState.IDLE and self.detail.startswith(FINISHED)

    def values(self) -> dict[str, str]:
        """Return all fields as text; "" stands for a missing number."""
        texts = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float):
                texts[field.name] = f"{value:.4f}"
            else:
                texts[field.name] = "" if value is None else str(value)
        return texts

    def __str__(self) -> str:
        """Return the status in one line."""
        parts = [str(self.state)]
        if self.is_active and self.round:
            parts.append(f"round {self.round} of {self.rounds}")
        if self.detail:
            parts.append(self.detail)
        return ", ".join(parts)
