"""The drawn confusion matrix: right and wrong in their colours, at any number of classes."""

from __future__ import annotations

import numpy as np
import pytest

from fl_robot_ros.curation.confusion_sheet import MOST_CLASSES, draw_confusion

GREEN, RED = (34, 139, 76), (200, 52, 52)


def test_mistakes_are_red_and_right_ones_green() -> None:
    right = draw_confusion(["cup", "box"], np.diag([5, 5]), "v00001")
    wrong = draw_confusion(["cup", "box"], np.array([[0, 5], [5, 0]]), "v00001")
    legend = 2 * 100 * 16  # Every shade is in the legend too.
    for sheet, colour in ((right, GREEN), (wrong, RED)):
        assert sheet.dtype == np.uint8
        assert (sheet == np.array(colour)).all(axis=2).sum() > legend
    assert not np.array_equal(right, wrong)


@pytest.mark.parametrize("count", [1, 11, 40, 1000])
def test_any_number_of_classes_fits(count: int) -> None:
    confusion = np.random.default_rng(0).integers(0, 20_000, (count, count))
    sheet = draw_confusion([f"class {n:04}" for n in range(count)], confusion, "title " * 30)
    assert max(sheet.shape) < 32 * MOST_CLASSES + 600


def test_of_very_many_classes_the_worst_are_drawn() -> None:
    names = [f"class {n:03}" for n in range(200)]
    confusion = np.diag(np.full(200, 9))
    before = draw_confusion(names, confusion, "t")
    confusion[150, 151] = 9
    assert not np.array_equal(draw_confusion(names, confusion, "t"), before)
