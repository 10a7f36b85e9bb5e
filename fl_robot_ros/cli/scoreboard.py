"""What a model said of images, counted by class where labels are known."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.cli.fair_sample import spread


class Outcome(NamedTuple):
    """One prediction.

    Attributes:
        name: Name of the image.
        label: Its true label, "" where it is unknown.
        predicted: The predicted label.
        confidence: Its probability, 0 to 1.
    """

    name: str
    label: str
    predicted: str
    confidence: float

    @property
    def is_right(self) -> bool:
        """Whether the prediction is the label."""
        return self.predicted == self.label


@dataclass(frozen=True)
class ClassScore:
    """How well a model knows one class.

    Attributes:
        name: The class.
        images: Images with this label.
        right: Those of them that were predicted as it.
        predicted: Labelled images that were predicted as it.
        confidence: Mean confidence on the images with this label, 0 to 1; 0 without images.
    """

    name: str
    images: int
    right: int
    predicted: int
    confidence: float

    @property
    def recall(self) -> float | None:
        """Share of the images that were predicted right, None without images."""
        return self.right / self.images if self.images else None

    @property
    def precision(self) -> float | None:
        """Share of the predictions that are right, None without any."""
        return self.right / self.predicted if self.predicted else None


class Scoreboard:
    """The predictions of one model.

    Attributes:
        classes: The model's classes, in the order of its outputs.
        outcomes: All predictions, in the order of the images.
        compared: Those whose label is a class of the model.
        others: All others.
        confusion: Number of compared images, int64 (classes, classes): a row for each label, a
            column for each prediction.
        foreign: Number of images by label, for labels that the model lacks.
    """

    def __init__(self, classes: Sequence[str], outcomes: Sequence[Outcome]) -> None:
        """Count.

        Args:
            classes: The model's classes.
            outcomes: Its predictions.
        """
        self.classes = tuple(classes)
        self.outcomes = list(outcomes)
        place = {name: number for number, name in enumerate(self.classes)}
        self.compared = [item for item in self.outcomes if item.label in place]
        self.others = [item for item in self.outcomes if item.label not in place]
        self.foreign = Counter(item.label for item in self.others if item.label)
        self.confusion: NDArray[np.int64] = np.zeros((len(place), len(place)), np.int64)
        self._confidence = dict.fromkeys(self.classes, 0.0)
        for item in self.compared:
            self.confusion[place[item.label], place[item.predicted]] += 1
            self._confidence[item.label] += item.confidence

    @property
    def right(self) -> int:
        """Number of right predictions among the compared ones."""
        return int(np.trace(self.confusion))

    @property
    def accuracy(self) -> float | None:
        """Share of right predictions, None without labels."""
        return self.right / len(self.compared) if self.compared else None

    def scores(self) -> list[ClassScore]:
        """Return the score of every class, in the order of the outputs."""
        images, predicted = self.confusion.sum(axis=1), self.confusion.sum(axis=0)
        return [
            ClassScore(
                name,
                int(images[number]),
                int(self.confusion[number, number]),
                int(predicted[number]),
                self._confidence[name] / max(1, int(images[number])),
            )
            for number, name in enumerate(self.classes)
        ]

    def confused_pairs(self) -> list[tuple[str, str, int]]:
        """Return label, prediction and number of images of all mistakes, the commonest first."""
        pairs = Counter((item.label, item.predicted) for item in self.compared)
        wrong = [(*pair, count) for pair, count in pairs.items() if pair[0] != pair[1]]
        return sorted(wrong, key=lambda pair: (-pair[2], pair[0], pair[1]))

    def examples(self, most: int) -> list[Outcome]:
        """Return telling predictions: mistakes first, of every kind in turn, the surest first.

        What is left of the number is for right ones and those without a known label, evenly
        over all.

        Args:
            most: How many predictions to return at most.
        """
        kinds = defaultdict(list)
        for item in self.compared:
            if not item.is_right:
                kinds[item.label, item.predicted].append(item)
        by_number = sorted(kinds.values(), key=lambda items: (-len(items), items[0].label))
        surest_first = [sorted(items, key=lambda item: -item.confidence) for items in by_number]
        in_turn = chain.from_iterable(zip_longest(*surest_first))
        chosen = [item for item in in_turn if item is not None][:most]
        rest = [item for item in self.outcomes if item.is_right or item.label not in self.classes]
        room = most - len(chosen)
        return chosen + ([rest[place] for place in spread(len(rest), room)] if room else [])
