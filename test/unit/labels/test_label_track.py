"""The label that holds at a time."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl_robot_ros.errors import LabelError
from fl_robot_ros.labels import label_track
from fl_robot_ros.labels.label_track import MAX_HISTORY, LabelTrack

SEC = 1_000_000_000


def test_label_holds_from_its_publication_until_the_next() -> None:
    track = LabelTrack()
    track.add("cat", 100)
    track.add("", 200)
    track.add("dog", 300)
    assert [track.at(time) for time in (99, 100, 199, 200, 299, 300, 10**12)] == [
        "",
        "cat",
        "cat",
        "",
        "",
        "dog",
        "dog",
    ]


def test_late_label_takes_its_place_in_time() -> None:
    track = LabelTrack()
    track.add("cat", 100)
    track.add("bird", 300)
    track.add("dog", 200)
    assert [track.at(time) for time in (150, 250, 350)] == ["cat", "dog", "bird"]


def test_of_two_labels_at_one_time_the_later_one_holds() -> None:
    track = LabelTrack()
    track.add("cat", 100)
    track.add("dog", 100)
    assert track.at(100) == "dog"


def test_unfit_label_leaves_the_one_before_in_force() -> None:
    track = LabelTrack()
    track.add("cat", 100)
    with pytest.raises(LabelError):
        track.add("x" * 1000, 200)
    assert track.at(250) == "cat"


def test_history_is_bounded() -> None:
    track = LabelTrack()
    for number in range(MAX_HISTORY + 10):
        track.add(f"label {number}", number)
    assert track.at(5) == ""
    assert track.at(MAX_HISTORY) == f"label {MAX_HISTORY}"


def test_labels_that_are_still_asked_for_are_kept() -> None:
    track = LabelTrack()
    track.keep_from(15)
    for number in range(2 * MAX_HISTORY):
        track.add(f"label {number}", number)
    assert [track.at(time) for time in (14, 15, MAX_HISTORY)] == [
        "",
        "label 15",
        f"label {MAX_HISTORY}",
    ]
    track.keep_from(sys.maxsize)
    track.add("last", 2 * MAX_HISTORY)
    assert track.at(MAX_HISTORY) == ""
    assert track.at(MAX_HISTORY + 1) == f"label {MAX_HISTORY + 1}"


def test_labels_that_are_asked_for_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_track, "MAX_LABELS", MAX_HISTORY + 5)
    track = LabelTrack()
    track.keep_from(0)
    for number in range(MAX_HISTORY + 10):
        track.add(f"label {number}", number)
    assert [track.at(time) for time in (4, 5)] == ["", "label 5"]


def test_label_holds_no_longer_than_asked() -> None:
    track = LabelTrack(hold_sec=2.0)
    track.add("cat", 10 * SEC)
    track.add("dog", 11 * SEC)
    assert track.at(11 * SEC - 1) == "cat"
    assert track.at(13 * SEC - 1) == "dog"
    assert track.at(13 * SEC) == ""


def test_label_reaches_back_as_far_as_asked() -> None:
    track = LabelTrack(lookback_sec=3.0)
    track.add("pallet", 10 * SEC)
    assert [track.at(time) for time in (7 * SEC - 1, 7 * SEC, 10 * SEC)] == [
        "",
        "pallet",
        "pallet",
    ]


def test_label_reaches_back_over_ends_but_not_over_a_label_in_force() -> None:
    track = LabelTrack(lookback_sec=10.0)
    track.add("cat", 1 * SEC)
    track.add("", 3 * SEC)
    track.add("", 4 * SEC)
    track.add("dog", 5 * SEC)
    assert [track.at(time * SEC) for time in range(6)] == [
        "cat",
        "cat",
        "cat",
        "dog",
        "dog",
        "dog",
    ]


def test_label_reaches_back_to_where_the_one_before_held_no_longer() -> None:
    track = LabelTrack(hold_sec=1.0, lookback_sec=2.0)
    track.add("cat", 1 * SEC)
    track.add("dog", 5 * SEC)
    assert [track.at(time * SEC) for time in range(1, 7)] == ["cat", "", "dog", "dog", "dog", ""]


def test_label_replaced_at_its_own_time_does_not_reach_back() -> None:
    track = LabelTrack(lookback_sec=1.0)
    track.add("cat", 10 * SEC)
    track.add("", 10 * SEC)
    assert track.at(10 * SEC - 1) == ""


def test_next_label_is_not_given_to_times_whose_labels_are_forgotten() -> None:
    track = LabelTrack(lookback_sec=1000.0)
    for number in range(MAX_HISTORY + 1):
        track.add(f"label {number}", number)
    assert [track.at(time) for time in (0, 1)] == ["", "label 1"]


def test_the_shortest_hold_is_a_nanosecond() -> None:
    track = LabelTrack(hold_sec=1e-12)
    track.add("cat", 0)
    assert [track.at(time) for time in (0, 1)] == ["cat", ""]


def naive_label(
    added: Sequence[tuple[str, int]], hold_ns: int, lookback_ns: int, time_ns: int
) -> str:
    """Return what the track should: the rules of its docstring, word for word."""
    labels = {published_ns: label for label, published_ns in added}
    started = [start for start in labels if start <= time_ns]
    if started:
        start = max(started)
        if labels[start] and (hold_ns == 0 or time_ns < start + hold_ns):
            return labels[start]
    following = [start for start in labels if start > time_ns and labels[start]]
    if following and min(following) <= time_ns + lookback_ns:
        return labels[min(following)]
    return ""


@given(
    st.lists(st.tuples(st.sampled_from(["", "", "a", "b", "c"]), st.integers(0, 40)), max_size=12),
    st.integers(0, 12),
    st.integers(0, 12),
)
def test_label_at_any_time_is_as_documented(
    added: list[tuple[str, int]], hold_ns: int, lookback_ns: int
) -> None:
    track = LabelTrack(hold_ns / SEC, lookback_ns / SEC)
    for label, published_ns in added:
        track.add(label, published_ns)
    for time_ns in range(-15, 60):
        assert track.at(time_ns) == naive_label(added, hold_ns, lookback_ns, time_ns)


def test_labels_come_and_are_asked_for_at_once() -> None:
    track = LabelTrack(lookback_sec=1.0)
    wrong: list[str] = []

    def ask() -> None:
        for time_ns in range(2000):
            label = track.at(time_ns)
            if label not in ("", "cat", "dog"):
                wrong.append(label)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for time_ns in range(2000, 0, -1):
        track.add("cat" if time_ns % 2 else "dog", time_ns)
    for thread in threads:
        thread.join()
    assert not wrong
    assert [track.at(time_ns) for time_ns in (1, 2, 2000)] == ["cat", "dog", "dog"]
