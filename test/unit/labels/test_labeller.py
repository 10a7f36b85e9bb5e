"""The one label of a frame, from all the places that labels come from."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl_robot_ros.errors import LabelError, SettingError
from fl_robot_ros.labels.label_file import LabelRange
from fl_robot_ros.labels.label_ranges import LabelRanges
from fl_robot_ros.labels.labeller import Labeller, LabelRules, parse_topic_labels

SEC = 1_000_000_000
LEFT = "/robot1/camera_left/image_raw"
RIGHT = "/robot1/camera_right/image_raw"


def test_label_file_goes_before_published_labels_and_those_before_fixed_ones() -> None:
    rules = LabelRules(topic_labels={"camera_left/image_raw": "fixed"})
    ranges = LabelRanges([LabelRange(10, 20, "file"), LabelRange(20, 30, "")])
    labeller = Labeller(rules, ranges)
    labeller.add("published", 105)
    labeller.add("", 140)

    def label_at(topic: str, stamp_ns: int) -> str:
        return labeller.label_of(topic, stamp_ns, stamp_ns + 100)

    times = (4, 5, 10, 19, 20, 29, 30, 40)
    assert [label_at(LEFT, time) for time in times] == [
        *("fixed", "published", "file", "file", "", "", "published", "fixed"),
    ]
    assert [label_at(RIGHT, time) for time in times] == [
        *("", "published", "file", "file", "", "", "published", ""),
    ]


def test_without_any_labels_there_are_none() -> None:
    assert Labeller(LabelRules()).label_of(LEFT, 5, 5) == ""


def test_bag_has_labels_of_its_own_and_the_rules_of_all() -> None:
    rules = LabelRules(hold_sec=1.0, lookback_sec=2.0)
    live = Labeller(rules)
    live.add("live", 10 * SEC)
    ranges = LabelRanges([LabelRange(0, SEC, "file")], is_relative=True)
    bag = Labeller(rules, ranges, origin_ns=6 * SEC)
    bag.add("bag", 10 * SEC)
    seconds = range(5, 12)
    assert [live.label_of(LEFT, time * SEC, time * SEC) for time in seconds] == [
        *("", "", "", "live", "live", "live", ""),
    ]
    assert [bag.label_of(LEFT, time * SEC, time * SEC) for time in seconds] == [
        *("", "file", "", "bag", "bag", "bag", ""),
    ]


def test_unfit_published_label_leaves_the_one_before_in_force() -> None:
    labeller = Labeller(LabelRules())
    labeller.add("cat", 1)
    with pytest.raises(LabelError):
        labeller.add("a\0b", 2)
    assert labeller.label_of(LEFT, 3, 3) == "cat"


def test_longest_name_of_a_topic_decides() -> None:
    entries = ["image_raw: any", "/camera_left/image_raw: left", "left/image_raw: other"]
    labeller = Labeller(LabelRules(topic_labels=parse_topic_labels(entries)))
    assert labeller.label_of(LEFT, 0, 0) == "left"
    assert labeller.label_of(RIGHT, 0, 0) == "any"
    assert labeller.label_of("/depth", 0, 0) == ""


def test_topic_labels_are_read_and_cleaned() -> None:
    entries = [
        "camera_left/image_raw: pallet",
        " /rear/ :stop: sign",
        "a:cafe\u0301",
        "a: caf\u00e9",
    ]
    assert parse_topic_labels(entries) == {
        "camera_left/image_raw": "pallet",
        "rear": "stop: sign",
        "a": "caf\u00e9",
    }


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("", "topic label '' lacks a topic or a label; expected both"),
        ("camera", "topic label 'camera' lacks a topic or a label"),
        ("camera: ", "lacks a topic or a label"),
        (": pallet", "lacks a topic or a label"),
        ("/: pallet", "lacks a topic or a label"),
        ("camera left: pallet", "lacks a topic or a label"),
        ("camera: a\nb", "topic label 'camera: a.*nb': label .* has control"),
        ("camera: " + "x" * 65, "has 65 characters; expected at most 64"),
        ("/fixed: box", "topic 'fixed' has the label 'pallet' already"),
    ],
)
def test_bad_entry_is_refused(entry: str, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        parse_topic_labels(["fixed: pallet", entry])


@given(st.lists(st.text(max_size=100), max_size=3))
def test_any_entries_are_topic_labels_or_one_clear_error(entries: list[str]) -> None:
    labels: dict[str, str] = {}
    message = ""
    try:
        labels = parse_topic_labels(entries)
    except SettingError as error:
        message = str(error)
    assert len(message) < 700
    for topic, label in labels.items():
        assert Labeller(LabelRules(topic_labels=labels)).label_of(topic, 0, 0) == label


@pytest.mark.parametrize(
    "values",
    [
        {"topic_labels": {"camera": ""}},
        {"topic_labels": {"camera": "a\0b"}},
        {"topic_labels": {"": "pallet"}},
    ],
)
def test_invalid_rules_are_refused_at_once(values: dict[str, Any]) -> None:
    with pytest.raises(SettingError):
        LabelRules(**values)
