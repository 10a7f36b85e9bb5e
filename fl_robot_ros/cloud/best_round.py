"""The round of a run whose model is delivered: the best by the robots' own evaluation.

The highest of many accuracies is high by luck in part, and a model gains from further rounds where
the difference is none. So the newest round counts as the best that lies within one standard error
of the highest: the "one standard error rule" of Breiman et al., "Classification and Regression
Trees", 1984, section 3.4.3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

# Rounds that were evaluated on fewer of the most images than this are not compared: few images
# have high accuracies by luck.
_MIN_SHARE = 0.5


@dataclass(frozen=True)
class Evaluation:
    """What the robots found of a round's model.

    Attributes:
        round: Number of the round.
        accuracy: Mean accuracy, 0 to 1.
        images: Held-out images of all robots that evaluated.
    """

    round: int
    accuracy: float
    images: int

    @property
    def standard_error(self) -> float:
        """Of the accuracy, as the share of right answers among so many images."""
        return math.sqrt(self.accuracy * (1.0 - self.accuracy) / max(self.images, 1))


class BestRound:
    """Remembers the evaluations of a run."""

    def __init__(self) -> None:
        """Remember none."""
        self._evaluations: dict[int, Evaluation] = {}

    def add(self, evaluation: Evaluation) -> None:
        """Take the evaluation of a round."""
        self._evaluations[evaluation.round] = evaluation

    def __getitem__(self, server_round: int) -> Evaluation | None:
        """Return the evaluation of a round, None without one."""
        return self._evaluations.get(server_round)

    @property
    def highest(self) -> Evaluation | None:
        """The evaluation with the highest accuracy, of equal ones the last; None without any.

        A round counts only if it was evaluated on at least half as many images as that with the
        most.
        """
        return max(self._sound(), key=lambda item: (item.accuracy, item.round), default=None)

    @property
    def best(self) -> Evaluation | None:
        """The last evaluation within one standard error of the highest; None without any."""
        highest = self.highest
        if highest is None:
            return None
        enough = highest.accuracy - highest.standard_error
        good = [item for item in self._sound() if item.accuracy >= enough]
        return max(good, key=lambda item: item.round)

    @property
    def rounds_without_gain(self) -> int:
        """How many rounds that count were evaluated since the accuracy last rose."""
        sound = sorted(self._sound(), key=lambda item: item.round)
        accuracies = [evaluation.accuracy for evaluation in sound]
        return len(accuracies) - 1 - accuracies.index(max(accuracies)) if accuracies else 0

    def _sound(self) -> list[Evaluation]:
        """Return the rounds that count."""
        found = self._evaluations.values()
        most = max((evaluation.images for evaluation in found), default=0)
        return [evaluation for evaluation in found if evaluation.images >= _MIN_SHARE * most]
