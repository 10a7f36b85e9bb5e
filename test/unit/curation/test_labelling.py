"""Labels given afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest
from labelled_images import START_NS, filled, new

from fl_robot_ros.curation.labelling import (
    LabelById,
    LabelChooser,
    apply_plan,
    choose_by_time,
    parse_ids,
    parse_label_stamp,
    plan_labels,
)
from fl_robot_ros.dataset.dataset import Dataset
from fl_robot_ros.errors import LabelError


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """A dataset with ids 1 to 10, a second apart; 1 and 2 are cats, the others have no label."""
    return Dataset(filled(tmp_path / "data", "cat", "cat", *[""] * 8))


def give(dataset: Dataset, choose: LabelChooser, with_labelled: bool = False) -> dict[str, int]:
    plan = plan_labels(dataset, choose, with_labelled=with_labelled)
    return apply_plan(dataset, plan, lambda done, total: None)


def by_label(dataset: Dataset) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for sample in dataset.samples():
        found.setdefault(sample.label, []).append(sample.id)
    return found


def test_ids_name_samples_of_the_pool(dataset: Dataset) -> None:
    choose = LabelById(parse_ids("8 , 1-3,2-5,4, 20-9999999999999999999"), "dog")
    plan = plan_labels(dataset, choose, with_labelled=False)
    assert (plan.changes, plan.protected, plan.same) == ({"dog": [3, 4, 5, 8]}, 2, 0)
    assert apply_plan(dataset, plan, lambda done, total: None) == {"dog": 4}
    again = plan_labels(dataset, choose, with_labelled=False)
    assert (again.total, again.protected, again.same) == (0, 2, 4)
    assert by_label(dataset) == {"cat": [1, 2], "dog": [3, 4, 5, 8]}


def test_labelled_samples_change_only_when_asked_for(dataset: Dataset) -> None:
    assert give(dataset, LabelById(parse_ids("1-2"), "dog")) == {}
    assert give(dataset, LabelById(parse_ids("1"), "dog"), with_labelled=True) == {"dog": 1}
    assert give(dataset, LabelById(parse_ids("1-9"), ""), with_labelled=True) == {"": 2}
    assert dataset.num_unlabelled() == 10


@pytest.mark.parametrize("text", ["", "x", "3-", "-3", "7-3", "1,,2", "1.5", "\u0663-x", "9" * 30])
def test_invalid_ids_are_refused(text: str) -> None:
    with pytest.raises(LabelError, match="ids"):
        parse_ids(text)


def test_ids_of_no_sample_are_named_as_they_were_written(dataset: Dataset) -> None:
    dataset.remove([4, 5])
    ids = parse_ids("3, 4,4-5,5-6,10,11-9999999999999999999,0")
    choose = LabelById(ids, "dog")
    plan_labels(dataset, choose, with_labelled=False)
    assert choose.unmatched() == ["4", "4-5", "11-9999999999999999999", "0"]


def test_times_are_inclusive_at_the_start_only(dataset: Dataset) -> None:
    dataset.add([new(4, "", "/robot1/rear")])
    start = parse_label_stamp("2024-05-01T12:00:03Z")
    end = parse_label_stamp(str(START_NS // 10**9 + 5))
    assert give(dataset, choose_by_time(start, end, "rear/", "owl")) == {"owl": 1}
    assert by_label(dataset)["owl"] == [11]
    assert give(dataset, choose_by_time(start, end, "", "dog")) == {"dog": 2}
    assert by_label(dataset)["dog"] == [4, 5]
    late = parse_label_stamp("2024-05-01T12:00:09Z")
    assert give(dataset, choose_by_time(late, None, "", "late")) == {"late": 1}
    assert give(dataset, choose_by_time(None, start, "", "early")) == {"early": 1}


@pytest.mark.parametrize("text", ["", "12.5", "yesterday", "2024-05-01T12:00:09"])
def test_invalid_times_are_refused(text: str) -> None:
    with pytest.raises(LabelError, match="expected"):
        parse_label_stamp(text)
