"""Counts of predictions, and of right ones where labels are known."""

from __future__ import annotations

from dataclasses import dataclass, field

from fl_robot_ros.delivery.predictor import Prediction

FIRST_ROWS = 10


@dataclass
class ClassScore:
    """Score of one class: of its images, or of unlabelled images predicted as the class."""

    images: int = 0
    right: int = 0
    confidence_sum: float = 0.0


@dataclass
class Scoreboard:
    """Scores over all images.

    Attributes:
        classes: The model's classes.
        rows: Name, predicted label, confidence and true label of the first images.
        by_label: Scores of the images with a label of the model, by label.
        by_prediction: Scores of all other images, by prediction.
        unreadable: Number of images that could not be read.
        foreign: Number of images by label, for labels that the model lacks.
    """

    classes: tuple[str, ...]
    rows: list[tuple[str, str, float, str]] = field(default_factory=list)
    by_label: dict[str, ClassScore] = field(default_factory=dict)
    by_prediction: dict[str, ClassScore] = field(default_factory=dict)
    unreadable: int = 0
    foreign: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, label: str, prediction: Prediction) -> None:
        """Count one prediction.

        Args:
            name: Name of the image.
            label: Its true label, "" where it is unknown.
            prediction: The model's prediction.
        """
        if len(self.rows) < FIRST_ROWS:
            self.rows.append((name, prediction.label, prediction.confidence, label))
        if label in self.classes:
            score = self.by_label.setdefault(label, ClassScore())
            score.right += label == prediction.label
        else:
            score = self.by_prediction.setdefault(prediction.label, ClassScore())
            if label:
                self.foreign[label] = self.foreign.get(label, 0) + 1
        score.images += 1
        score.confidence_sum += prediction.confidence

    @property
    def images(self) -> int:
        """Number of predictions."""
        scores = (*self.by_label.values(), *self.by_prediction.values())
        return sum(score.images for score in scores)

    @property
    def compared(self) -> int:
        """Number of predictions with a known label."""
        return sum(score.images for score in self.by_label.values())

    @property
    def right(self) -> int:
        """Number of right predictions among the compared ones."""
        return sum(score.right for score in self.by_label.values())
