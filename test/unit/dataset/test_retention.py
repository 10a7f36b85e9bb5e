"""What stays when the budget is used up."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl_robot_ros.capture.new_sample import NewSample
from fl_robot_ros.dataset.dataset import Dataset
from fl_robot_ros.dataset.index_writer import IndexWriter
from fl_robot_ros.dataset.retention import Limits, choose_victims, fair_share

SEC = 10**9


def new(stamp_ns: int, label: str = "cat", size: int = 100) -> NewSample:
    return NewSample(label, "/camera", stamp_ns, b"x" * size, 4, 3)


def test_the_most_crowded_go_and_the_ends_stay() -> None:
    assert choose_victims([0, 10, 11, 12, 30], 1) == [2]
    assert sorted(choose_victims([0, 10, 11, 12, 30], 3)) == [1, 2, 3]
    assert sorted(choose_victims([0, 5], 5)) == [0, 1]
    assert choose_victims([0, 10, 11, 12, 30], 2, [True, True, False, False, True])[0] == 1


@given(
    st.lists(st.integers(0, 10**6), max_size=40),
    st.integers(0, 50),
    st.lists(st.booleans(), min_size=40, max_size=40),
)
def test_as_many_as_wanted_go_and_none_that_may_not(
    stamps: list[int], count: int, evictable: list[bool]
) -> None:
    stamps.sort()
    victims = choose_victims(stamps, count, evictable[: len(stamps)])
    assert len(set(victims)) == len(victims) == min(count, sum(evictable[: len(stamps)]))
    assert all(evictable[index] for index in victims)


def test_a_full_class_keeps_its_spread_over_time(tmp_path: Path) -> None:
    with Dataset(tmp_path, Limits(samples_per_label=50)) as dataset:
        dataset.add([new(0), new(10 * SEC)])  # an old condition
        for start in range(0, 400, 20):
            stamps = [3600 * SEC + (start + n) * SEC // 5 for n in range(20)]
            dataset.add([new(stamp) for stamp in stamps])
        kept = [sample.stamp_ns for sample in dataset.samples()]
        assert len(kept) == 50
        assert {0, 10 * SEC} <= set(kept)
        late = np.array(sorted(stamp for stamp in kept if stamp >= 3600 * SEC))
        assert np.max(np.diff(late)) <= 4 * SEC  # of 80 s at 5 Hz
        files = list(tmp_path.rglob("*.jpg"))
        assert len(files) == 50


def test_a_frame_that_the_full_class_does_not_need_is_over_quota(tmp_path: Path) -> None:
    with Dataset(tmp_path, Limits(samples_per_label=3)) as dataset:
        assert dataset.add([new(0), new(10), new(20)]) == ["kept"] * 3
        assert dataset.add([new(9), new(30)]) == ["over_quota", "kept"]
        assert dataset.add([new(1, "dog")]) == ["kept"]
        assert len(dataset) == 4


def test_unlabelled_samples_have_a_budget_of_their_own(tmp_path: Path) -> None:
    with Dataset(tmp_path, Limits(unlabelled=10)) as dataset:
        dataset.add([new(number, "") for number in range(30)])
        dataset.add([new(100 + number) for number in range(30)])
        assert (dataset.num_unlabelled(), len(dataset)) == (10, 30)
        assert len(list((tmp_path / ".review").iterdir())) == 10
        assert [sample.label for sample in dataset.unlabelled()] == [""] * 10


def test_the_largest_class_makes_room_for_the_rare_one(tmp_path: Path) -> None:
    with Dataset(tmp_path, Limits(total_bytes=10_000)) as dataset:
        dataset.add([new(number, "rare") for number in range(5)])
        for start in range(100, 1100, 50):
            dataset.add([new(start + number, "common") for number in range(50)])
        assert dataset.disk_bytes() <= 10_000
        assert dataset.counts()["rare"] == 5
        assert dataset.counts()["common"] >= 85


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=20), st.integers(0, 10**6))
def test_a_fair_share_is_the_largest_that_fits(sizes: list[int], total: int) -> None:
    share = fair_share(sizes, total)
    assert sum(min(size, share) for size in sizes) <= total
    if max(sizes) > share:
        assert sum(min(size, share + 1) for size in sizes) > total


def test_a_budget_that_was_lowered_is_met_in_few_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Dataset(tmp_path) as dataset:
        dataset.add([new(number, "a") for number in range(300)])
        dataset.add([new(number, "b") for number in range(300, 500)])
        dataset.add([new(number, "c") for number in range(500, 505)])
    with Dataset(tmp_path, Limits(total_bytes=3_000)) as dataset:
        transactions = []
        begin = IndexWriter.transaction

        def counted(index: IndexWriter) -> AbstractContextManager[None]:
            transactions.append(index)
            return begin(index)

        monkeypatch.setattr(IndexWriter, "transaction", counted)
        dataset.add([new(1000, "c")])
        # To store, and to thin out each of the two large classes.
        assert len(transactions) == 3
        assert dataset.disk_bytes() <= 3_000
        assert dataset.counts() == {"a": 12, "b": 12, "c": 6}


def test_what_a_run_trains_on_is_not_evicted(tmp_path: Path) -> None:
    with Dataset(tmp_path, Limits(samples_per_label=10, total_bytes=1500)) as dataset:
        dataset.add([new(number) for number in range(10)])
        dataset.pin(dataset.last_id())
        outcomes = dataset.add([new(100 + number) for number in range(10)])
        assert outcomes == ["over_quota"] * 10
        assert {sample.stamp_ns for sample in dataset.samples()} == set(range(10))
        dataset.pin(0)
        dataset.add([new(200)])
        assert 200 in {sample.stamp_ns for sample in dataset.samples()}


def nearest_label(images: dict[str, list[np.ndarray]], image: np.ndarray) -> str:
    """Return the label of the nearest stored image."""
    return min(images, key=lambda label: min(np.abs(image - p).sum() for p in images[label]))


def test_rare_classes_survive_a_long_stay_elsewhere(tmp_path: Path) -> None:
    """A nearest neighbour over the rest recognises the class that was seen first, and least."""
    generator = np.random.default_rng(1)
    prototypes = {name: generator.normal(0, 1, 16) for name in ("rare", "floor", "wall", "door")}

    def seen(label: str) -> np.ndarray:
        return np.asarray(prototypes[label] + generator.normal(0, 0.4, 16), np.float64)

    drive = ["rare"] * 20 + [label for label in ("floor", "wall", "door") for _ in range(100)]
    left: dict[str, list[np.ndarray]] = {}
    with Dataset(tmp_path, Limits(total_bytes=60 * 128)) as dataset:
        for number, label in enumerate(drive):
            image_bytes = seen(label).tobytes()
            dataset.add([NewSample(label, "/camera", number * SEC, image_bytes, 4, 4)])
        for item in dataset.samples():
            content = (tmp_path / item.path).read_bytes()
            left.setdefault(item.label, []).append(np.frombuffer(content))
    assert sum(map(len, left.values())) <= 60
    recall = np.mean([nearest_label(left, seen("rare")) == "rare" for _ in range(50)])
    assert recall >= 0.9
