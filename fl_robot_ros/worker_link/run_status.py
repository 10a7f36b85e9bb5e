"""Where a robot stands in a run."""

from __future__ import annotations

from dataclasses import dataclass, fields

IDLE = "idle"
CONNECTING = "connecting"
WAITING = "waiting"
TRAINING = "training"
EVALUATING = "evaluating"
DELIVERING = "delivering"
FAILED = "failed"

# Detail of the state after a run to its end.
FINISHED = "the run is finished"


@dataclass(frozen=True)
class RunStatus:
    """One robot's state at one moment.

    Attributes:
        state: `idle`, `connecting`, `waiting`, `training`, `evaluating`, `delivering` or
            `failed`.
        detail: One line for people: what happened last, or why it failed.
        run: Number of the server's run, 0 before the robot knows it.
        round: Number of the round, since the server's first run.
        rounds: Number of the run's last round.
        epoch: Epochs of this round that are done.
        epochs: Epochs of this round.
        loss: Newest loss, of training or evaluation.
        accuracy: Newest accuracy, 0 to 1.
        samples: Labelled images in the run's snapshot; 0 with another source than the dataset.
        data: What the run learns from, in one line: as frozen, then as the worker could use it.
    """

    state: str = IDLE
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

    @property
    def is_active(self) -> bool:
        """Whether the robot takes part in a run, or tries to."""
        return self.state not in (IDLE, FAILED)

    def values(self) -> dict[str, str]:
        """Return the fields as text, those without a value as ""."""
        texts = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float):
                texts[field.name] = f"{value:.4f}"
            else:
                texts[field.name] = "" if value is None else str(value)
        return texts
