"""Counts of predictions, telling examples, and two models side by side."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fl_robot_ros.cli.fair_sample import fair_sample, spread
from fl_robot_ros.cli.model_comparison import Comparison
from fl_robot_ros.cli.prediction_tables import describe_difference
from fl_robot_ros.cli.scoreboard import Outcome, Scoreboard


def outcomes(*pairs: tuple[str, str]) -> list[Outcome]:
    """Return predictions with these labels and predicted labels."""
    return [Outcome(f"{n}.png", *pair, 0.5) for n, pair in enumerate(pairs)]


def test_only_labels_of_the_model_are_compared() -> None:
    said = outcomes(("a", "a"), ("a", "b"), ("b", "b"), ("", "a"), ("z", "b"))
    board = Scoreboard(("a", "b", "c"), said)
    assert (len(board.compared), board.right, board.accuracy) == (3, 2, 2 / 3)
    np.testing.assert_array_equal(board.confusion, [[1, 1, 0], [0, 1, 0], [0, 0, 0]])
    assert board.foreign == {"z": 1}
    a, b, c = board.scores()
    assert (a.images, a.recall, a.precision, a.confidence) == (2, 0.5, 1.0, 0.5)
    assert (b.images, b.recall, b.precision) == (1, 1.0, 0.5)
    assert (c.recall, c.precision) == (None, None)
    assert board.confused_pairs() == [("a", "b", 1)]


def test_examples_show_every_kind_of_mistake_before_what_is_right() -> None:
    said = outcomes(*[("a", "a")] * 50, *[("a", "b")] * 20, ("b", "a"), ("", "b"))
    said[60] = said[60]._replace(confidence=0.9)
    board = Scoreboard(("a", "b"), said)
    examples = board.examples(5)
    assert [(item.label, item.predicted) for item in examples] == [
        *(("a", "b"), ("b", "a")),
        *[("a", "b")] * 3,
    ]
    assert examples[0] is board.outcomes[60]
    assert len(board.examples(30)) == 30
    assert Counter(item.is_right for item in board.examples(30)[21:])[True] >= 8
    unlabelled = Scoreboard(("a", "b"), outcomes(*[("", "a")] * 100))
    places = [int(item.name.removesuffix(".png")) for item in unlabelled.examples(10)]
    assert len(places) == 10
    assert places[-1] >= 90


@given(st.integers(0, 300), st.integers(1, 300))
def test_a_spread_takes_one_of_each_stretch(count: int, limit: int) -> None:
    places = spread(count, limit)
    assert len(places) == min(count, limit)
    stretches = [place * min(count, limit) // count for place in places] if count else []
    assert len(set(places)) == len(places)
    assert all(abs(stretch - number) <= 1 for number, stretch in enumerate(stretches))


@given(st.lists(st.sampled_from("aaaaaaaabbbc"), min_size=1), st.integers(1, 60))
def test_a_fair_sample_has_every_label_and_its_share(labels: list[str], limit: int) -> None:
    places = fair_sample(labels, limit)
    assert places == sorted(set(places))
    assert len(places) == min(limit, len(labels))
    sizes, chosen = Counter(labels), Counter(labels[place] for place in places)
    assert len(chosen) == min(limit, len(sizes))
    if limit >= len(sizes):
        for label, size in sizes.items():
            assert abs(chosen[label] - size * len(places) / len(labels)) <= 2


def test_frames_of_two_cameras_in_turn_are_both_chosen() -> None:
    cameras = Counter(place % 2 for place in spread(1000, 100))
    assert min(cameras.values()) > 30


def test_two_models_are_compared_on_labels_that_both_know() -> None:
    labels = [*"aaaaaaaaab", "z", ""]
    one = Scoreboard(("a", "b"), outcomes(*((label, "b") for label in labels)))
    two = Scoreboard(("a", "b", "z"), outcomes(*((label, "a") for label in labels)))
    compared = Comparison(one, two)
    assert (compared.only_first, compared.only_second) == (1, 9)
    assert (compared.first.accuracy, compared.second.accuracy) == (0.1, 0.9)
    assert [(item.name, item.before, item.after) for item in compared.recalls()] == [
        ("a", 0.0, 1.0),
        ("b", 1.0, 0.0),
    ]
    assert len(compared.disagreements) == 12
    assert [pair[0].label for pair in compared.disagreements[-2:]] == ["z", ""]
    said = describe_difference(compared, ("v1", "v2"))
    assert said.startswith("v2 gets 9 images right that v1 gets wrong, and 1 the other way round")
    assert "hardly chance" in said
    assert "perhaps chance" in describe_difference(
        Comparison(
            Scoreboard(("a", "b"), outcomes(("a", "a"))),
            Scoreboard(("a", "b"), outcomes(("a", "b"))),
        ),
        ("v1", "v2"),
    )
