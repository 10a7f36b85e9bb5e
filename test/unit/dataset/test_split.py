"""Splitting by time."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl_robot_ros.dataset.sample import Sample
from fl_robot_ros.dataset.split import split_by_time
from fl_robot_ros.errors import SnapshotError

MS = 1_000_000


def samples(stamps_ms: list[int], label: str = "cat", topic: str = "/camera") -> list[Sample]:
    return [
        Sample(number, label, topic, stamp * MS, f"{label}/{number}.jpg")
        for number, stamp in enumerate(stamps_ms)
    ]


def drives(count: int, frames: int = 25, label: str = "cat", start_ms: int = 0) -> list[Sample]:
    """Return several passes by a thing at 5 Hz, a minute apart."""
    return samples(
        [start_ms + 60_000 * n + 200 * frame for n in range(count) for frame in range(frames)],
        label,
    )


def runs(train: list[Sample], holdout: list[Sample]) -> list[str]:
    """Return on which side each stretch of the time line lies."""
    sides = [(item.stamp_ns, "train") for item in train]
    sides += [(item.stamp_ns, "holdout") for item in holdout]
    order = [side for _, side in sorted(sides)]
    return [side for index, side in enumerate(order) if not index or order[index - 1] != side]


def test_whole_passes_go_to_one_side() -> None:
    train, holdout = split_by_time(drives(10), 0.2, 10.0)
    assert (len(train), len(holdout)) == (200, 50)
    held = {item.stamp_ns // (60_000 * MS) for item in holdout}
    assert len(held) == 2
    assert not held & {item.stamp_ns // (60_000 * MS) for item in train}


def test_long_recording_is_cut_into_segments_spread_over_time() -> None:
    train, holdout = split_by_time(samples([200 * n for n in range(1500)]), 0.2, 10.0)
    assert len(holdout) == pytest.approx(300, rel=0.1)
    # 30 segments of 10 s, 6 of them held out.
    assert runs(train, holdout).count("holdout") == 6
    assert min(item.stamp_ns for item in holdout) < 300_000 * MS / 4


@pytest.mark.parametrize("seconds", [6, 12, 20, 45])
def test_a_short_recording_loses_one_gap_and_holds_out_its_share(seconds: int) -> None:
    everything = samples([200 * n for n in range(5 * seconds)])
    train, holdout = split_by_time(everything, 0.2, 10.0, gap_sec=1.0)
    assert runs(train, holdout) == ["train", "holdout"]
    assert len(holdout) == seconds
    assert len(train) == len(everything) - len(holdout) - 4


def test_a_long_recording_ends_with_a_held_out_segment() -> None:
    everything = samples([200 * n for n in range(500)])
    train, holdout = split_by_time(everything, 0.2, 10.0, gap_sec=1.0)
    assert runs(train, holdout) == ["train", "holdout", "train", "holdout"]
    # Two held out segments have three borders.
    assert len(everything) - len(train) - len(holdout) == 3 * 4


def test_a_short_class_is_cut_in_a_pause() -> None:
    sizes = (40, 20, 20, 20, 20)
    everything = samples(
        [60_000 * n + 200 * frame for n, size in enumerate(sizes) for frame in range(size)]
    )
    train, holdout = split_by_time(everything, 0.2, 10.0, gap_sec=1.0)
    # 24 would be the share, for which a gap would take 4 of another pass.
    assert (len(train), len(holdout)) == (100, 20)


def test_one_segment_is_cut_at_its_end() -> None:
    train, holdout = split_by_time(samples([200 * n for n in range(40)]), 0.25, 10.0)
    assert (len(train), len(holdout)) == (30, 10)
    assert runs(train, holdout) == ["train", "holdout"]


def test_two_cameras_at_one_instant_stay_on_one_side() -> None:
    stamps = [200 * n for n in range(100)]
    both = samples(stamps, topic="/left") + samples(stamps, topic="/right")
    train, holdout = split_by_time(both, 0.2, 2.0)
    assert not {item.stamp_ns for item in train} & {item.stamp_ns for item in holdout}
    train, holdout = split_by_time(both[:9] + both[100:109], 0.2, 10.0)
    assert not {item.stamp_ns for item in train} & {item.stamp_ns for item in holdout}


def test_every_class_is_on_both_sides_and_a_single_sample_trains() -> None:
    everything = drives(10) + drives(1, 2, "rare", 7) + drives(2, 1, "twice", 9)
    everything += drives(1, 1, "once", 11)
    train, holdout = split_by_time(everything, 0.2, 10.0)
    trained, held = Counter(item.label for item in train), Counter(item.label for item in holdout)
    assert set(trained) == {"cat", "rare", "twice", "once"}
    assert set(held) == {"cat", "rare", "twice"}


@given(
    st.lists(
        st.tuples(st.integers(0, 200_000), st.sampled_from("abc"), st.sampled_from("xy")),
        unique=True,
        max_size=120,
    ),
    st.floats(0.05, 0.5),
    st.floats(0.1, 100.0),
)
def test_nothing_is_lost_nothing_leaks_and_the_order_does_not_matter(
    items: list[tuple[int, str, str]], fraction: float, segment_sec: float
) -> None:
    everything = [
        Sample(number, label, topic, stamp * MS, f"{number}")
        for number, (stamp, label, topic) in enumerate(items)
    ]
    train, holdout = split_by_time(everything, fraction, segment_sec)
    assert sorted([*train, *holdout], key=lambda item: item.id) == everything
    shuffled = random.Random(0).sample(everything, len(everything))
    assert split_by_time(shuffled, fraction, segment_sec) == (train, holdout)
    for label in "abc":
        mine = [item for item in train if item.label == label]
        held = [item for item in holdout if item.label == label]
        if len(mine) + len(held) > 1:
            assert mine
            assert held
        else:
            assert not held
        together = sorted(mine + held, key=lambda item: (item.stamp_ns, item.topic, item.id))
        sides = ["holdout" if item in held else "train" for item in together]
        changes = [n for n in range(1, len(sides)) if sides[n] != sides[n - 1]]
        segment_starts = []
        begin = None
        for n, item in enumerate(together):
            if begin is None or item.stamp_ns - begin > segment_sec * 1e9:
                begin = item.stamp_ns
                segment_starts.append(n)
        # The side changes only where a segment begins, or once in a class of few samples.
        ends = [*segment_starts, len(together)][1:]
        longest = max((end - n for n, end in zip(segment_starts, ends, strict=True)), default=0)
        is_cut_once = len(changes) == 1 and fraction * len(together) < longest
        assert set(changes) <= set(segment_starts) or is_cut_once


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.33, 0.5])
def test_share_follows_the_fraction(fraction: float) -> None:
    sizes = random.Random(1)
    everything: list[Sample] = []
    for number in range(200):
        everything += drives(1, sizes.randint(5, 40), start_ms=number * 60_000)
    _, holdout = split_by_time(everything, fraction, 10.0)
    assert len(holdout) / len(everything) == pytest.approx(fraction, abs=0.01)


def test_no_samples_are_no_trouble() -> None:
    assert split_by_time([], 0.2, 10.0) == ([], [])


@pytest.mark.parametrize(("fraction", "segment"), [(0.0, 10.0), (1.0, 10.0), (0.2, 0.0)])
def test_invalid_settings_are_refused(fraction: float, segment: float) -> None:
    with pytest.raises(SnapshotError):
        split_by_time([], fraction, segment)


def test_nothing_near_the_holdout_is_trained_on() -> None:
    everything = samples([200 * n for n in range(1500)])
    train, holdout = split_by_time(everything, 0.2, 10.0, gap_sec=1.0)
    gaps = [min(abs(a.stamp_ns - b.stamp_ns) for b in holdout) for a in train]
    assert min(gaps) == 1000 * MS
    _, held_without_gap = split_by_time(everything, 0.2, 10.0)
    assert holdout == held_without_gap
    # Six held out segments, with two borders each but for the last one perhaps.
    assert 1500 - len(train) - len(holdout) in (44, 48)


def test_the_gap_leaves_something_to_train_on() -> None:
    train, holdout = split_by_time(samples([0, 200]), 0.5, 10.0, gap_sec=60.0)
    assert (len(train), len(holdout)) == (1, 1)


@pytest.mark.parametrize(("segment_sec", "gap_sec"), [(10.0, 30.0), (1.0, 5.0), (0.1, 1.0)])
def test_the_gap_may_be_longer_than_a_segment(segment_sec: float, gap_sec: float) -> None:
    everything = samples([100 * number for number in range(10_000)])
    train, holdout = split_by_time(everything, 0.01, segment_sec, gap_sec)
    assert len(train) > 500
    nearest = min(abs(a.stamp_ns - b.stamp_ns) for a in train for b in holdout)
    assert nearest >= gap_sec * 1e9


def test_a_gap_that_would_leave_nothing_is_halved() -> None:
    everything = samples([200 * n for n in range(1500)])
    train, holdout = split_by_time(everything, 0.2, 10.0, gap_sec=30.0)
    gaps = [min(abs(a.stamp_ns - b.stamp_ns) for b in holdout) for a in train]
    assert train
    assert min(gaps) >= 15_000 * MS


def test_a_gap_does_not_eat_a_class_that_is_shorter_than_it() -> None:
    train, holdout = split_by_time(samples(list(range(60))), 0.2, 10.0, gap_sec=1.0)
    assert (len(train), len(holdout)) == (17, 12)


@pytest.mark.parametrize("topic", ["import/photos", "import/photos/0a1b2c"])
def test_imported_photos_have_no_gap_and_imported_frames_have_one(topic: str) -> None:
    # As files that were copied at once, 1 ms apart.
    train, holdout = split_by_time(samples(list(range(60)), topic=topic), 0.2, 10.0, gap_sec=0.01)
    is_photo = topic == "import/photos"
    assert (len(train), len(holdout)) == ((48, 12) if is_photo else (39, 12))
