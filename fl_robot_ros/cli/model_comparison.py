"""Two models on the same images."""

from __future__ import annotations

from dataclasses import dataclass

from fl_robot_ros.cli.scoreboard import Outcome, Scoreboard
from fl_robot_ros.delivery.sign_test import two_sided

_SURE = 0.05


@dataclass(frozen=True)
class RecallChange:
    """The recall of one class by both models; None where a model has no image of it.

    Attributes:
        name: The class.
        images: Images with this label.
        before: Recall of the first model, 0 to 1.
        after: Recall of the second model, 0 to 1.
    """

    name: str
    images: int
    before: float | None
    after: float | None


class Comparison:
    """The predictions of two models, on the images whose label both know.

    Attributes:
        first: The first model's predictions.
        second: The second model's predictions, of the same images in the same order.
        only_first: Number of images that the first model alone gets right.
        only_second: Number of images that the second model alone gets right.
        disagreements: Predictions of both where they differ, first those that one gets right.
    """

    def __init__(self, first: Scoreboard, second: Scoreboard) -> None:
        """Compare.

        Args:
            first: Predictions of one model.
            second: Predictions of another, of the same images in the same order.
        """
        known = {*first.classes} & {*second.classes}
        pairs = list(zip(first.outcomes, second.outcomes, strict=True))
        self.all_images = len(pairs)
        labelled = [pair for pair in pairs if pair[0].label in known]
        self.first = Scoreboard(first.classes, [pair[0] for pair in labelled])
        self.second = Scoreboard(second.classes, [pair[1] for pair in labelled])
        self.only_first = sum(one.is_right and not two.is_right for one, two in labelled)
        self.only_second = sum(two.is_right and not one.is_right for one, two in labelled)
        differ = [pair for pair in pairs if pair[0].predicted != pair[1].predicted]
        self.disagreements: list[tuple[Outcome, Outcome]] = sorted(
            differ, key=lambda pair: not (pair[0].is_right or pair[1].is_right)
        )

    @property
    def chance(self) -> float:
        """How often chance alone makes such a difference, 0 to 1: McNemar's test (1947)."""
        return two_sided(self.only_first, self.only_second)

    @property
    def is_sure(self) -> bool:
        """Whether chance alone makes such a difference in fewer than 5 % of cases."""
        return self.chance < _SURE

    def recalls(self) -> list[RecallChange]:
        """Return the recall of every class that has images, by both models."""
        after = {score.name: score for score in self.second.scores()}
        return [
            RecallChange(score.name, score.images, score.recall, after[score.name].recall)
            for score in self.first.scores()
            if score.images
        ]
