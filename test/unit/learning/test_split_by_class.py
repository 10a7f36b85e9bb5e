"""The split of images without a time."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from fl_robot_ros.learning.split_by_class import split_by_class


@given(st.lists(st.sampled_from("abc")), st.floats(0.05, 0.5))
def test_every_class_has_its_share_on_both_sides(labels: list[str], fraction: float) -> None:
    keys = [f"image {number}" for number in range(len(labels))]
    train, holdout = split_by_class(labels, keys, fraction)
    assert sorted(train + holdout) == list(range(len(labels)))
    assert (train, holdout) == (sorted(train), sorted(holdout))
    held = Counter(labels[position] for position in holdout)
    for label, count in Counter(labels).items():
        if count == 1:
            assert held[label] == 0
        else:
            assert 1 <= held[label] < count
            assert abs(held[label] - fraction * count) <= 1


def test_the_split_is_the_same_whatever_the_order_and_stays_when_images_come() -> None:
    keys = [f"{number}.jpg" for number in range(200)]
    _, holdout = split_by_class(["x"] * 200, keys, 0.2)
    held = {keys[position] for position in holdout}
    _, turned = split_by_class(["x"] * 200, keys[::-1], 0.2)
    assert {keys[::-1][position] for position in turned} == held
    assert holdout != list(range(40))

    more = [*keys, *(f"new {number}.jpg" for number in range(20))]
    _, later = split_by_class(["x"] * 220, more, 0.2)
    assert len(held & {more[position] for position in later}) >= 35
