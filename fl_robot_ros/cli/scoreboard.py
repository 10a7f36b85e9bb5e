"""Predictions counted and compared with the labels that are known."""

from __future__ import annotations

from dataclasses import dataclass, field

from fl_robot_ros.delivery.predictor import Prediction

FIRST_ROWS = 10


@dataclass
class ClassScore:
    """How the images of one class did; without labels, those predicted as the class."""

    images: int = 0
    right: int = 0
    confidence_sum: float = 0.0


@dataclass
class Scoreboard:
    """What came out, over all images.

    Attributes:
        classes: The model's classes.
        rows: Name, predicted label, confidence and true label of the first images.
        by_label: Scores of the images whose label the model knows.
        by_prediction: Scores of all others.
        unreadable: Images that could not be read.
        foreign: How many images have each label that the model does not know.
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
            name: What to call the image.
            label: Its true label, "" where it is not known.
            prediction: What the model says.
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
        """Number of predictions that could be compared with a label."""
        return sum(score.images for score in self.by_label.values())

    @property
    def right(self) -> int:
        """Number of right ones among them."""
        return sum(score.right for score in self.by_label.values())
