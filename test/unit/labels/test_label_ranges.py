"""Labels by time, from files beside recordings."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl_robot_ros.errors import LabelError
from fl_robot_ros.labels.label_file import LabelRange
from fl_robot_ros.labels.label_ranges import LabelRanges

SEC = 1_000_000_000
DAY = 1_714_564_800  # 2024-05-01T12:00:00Z
TOPIC = "/robot1/camera_left/image_raw"

Load = Callable[[str, str], LabelRanges]


def test_small_times_count_from_the_beginning_of_the_recording(load: Load) -> None:
    ranges = load("labels.csv", "start,end,label\n5,7.5,box\n0,2,pallet\n")
    origin_ns = DAY * SEC + 77
    assert ranges.is_relative
    found = [
        ranges.at(TOPIC, origin_ns + offset, origin_ns) for offset in (-1, 0, 2 * SEC, 5 * SEC)
    ]
    assert found == [None, "pallet", None, "box"]


def test_longer_topic_name_goes_before_a_shorter_one_and_before_none(load: Load) -> None:
    text = (
        "start,end,label,topic\n"
        "0,9,all,\n"
        "1,9,raw,image_raw\n"
        "2,9,left,camera_left/image_raw\n"
        "3,9,other,left/image_raw\n"
    )
    ranges = load("labels.csv", text)
    assert [ranges.at(TOPIC, n * SEC, 0) for n in range(4)] == ["all", "raw", "left", "left"]


def test_empty_label_says_none_whatever_others_say(load: Load) -> None:
    text = "start,end,label,topic\n0,9,left,image_raw\n2,3,,\n4,5,,image_raw\n4.5,6,,image_raw\n"
    ranges = load("labels.csv", text)
    found = [ranges.at(TOPIC, n * SEC, 0) for n in range(10)]
    assert found == ["left", "left", "", "left", "", "", "left", "left", "left", None]
    assert ranges.at("/other", 4 * SEC, 0) is None


def test_overlap_with_one_label_is_one_range(load: Load) -> None:
    ranges = load("labels.csv", "start,end,label\n0,9,a\n1,2,a\n8,12,a\n12,13,b\n")
    assert [ranges.at(TOPIC, n * SEC, 0) for n in (0, 3, 11, 12, 13)] == ["a", "a", "a", "b", None]


def test_overlap_with_two_labels_names_both_lines(load: Load) -> None:
    text = "start,end,label,topic\n5,9,box,/image_raw\n0,1,cup,\n4,5.000000001,pallet,image_raw\n"
    with pytest.raises(LabelError) as caught:
        load("labels.csv", text)
    assert str(caught.value).endswith(
        "labels.csv: lines 2 and 4: the ranges overlap for topic 'image_raw' with the labels "
        "'box' and 'pallet'; expected one label at a time"
    )


def test_overlap_is_found_behind_a_short_range_within_a_long_one(load: Load) -> None:
    with pytest.raises(LabelError, match="lines 2 and 4"):
        load("labels.csv", "start,end,label\n0,9,a\n1,2,a\n5,6,b\n")


def naive_label(ranges: Sequence[LabelRange], topic: str, time_ns: int) -> str | None:
    """Return what the ranges should: the rules of their docstring, word for word."""
    found = [
        item
        for item in ranges
        if item.start_ns <= time_ns < item.end_ns
        and (not item.topic or f"/{topic}".endswith(f"/{item.topic}"))
    ]
    if any(not item.label for item in found):
        return ""
    return max(found, key=lambda item: len(item.topic)).label if found else None


def are_in_conflict(first: LabelRange, second: LabelRange) -> bool:
    return (
        first.topic == second.topic
        and bool(first.label and second.label)
        and first.label != second.label
        and first.start_ns < second.end_ns
        and second.start_ns < first.end_ns
    )


@given(
    st.lists(
        st.builds(
            lambda start, length, label, topic: LabelRange(start, start + length, label, topic),
            st.integers(0, 30),
            st.integers(1, 8),
            st.sampled_from(["", "a", "a", "b"]),
            st.sampled_from(["", "image", "left/image", "r/left/image", "right/image"]),
        ),
        max_size=10,
    )
)
def test_label_at_any_time_is_as_documented(drawn: list[LabelRange]) -> None:
    ranges = [item._replace(line=line) for line, item in enumerate(drawn, 2)]
    conflicts = [
        (first.line, second.line)
        for index, first in enumerate(ranges)
        for second in ranges[index + 1 :]
        if are_in_conflict(first, second)
    ]
    if conflicts:
        with pytest.raises(LabelError) as caught:
            LabelRanges(ranges)
        named = re.search(r"lines (\d+) and (\d+):", str(caught.value))
        assert named is not None
        assert (int(named[1]), int(named[2])) in conflicts
        return
    labels = LabelRanges(ranges)
    for topic in ("r/left/image", "left/image", "right/image", "depth"):
        for time_ns in range(-1, 40):
            assert labels.at(topic, time_ns, 5) == naive_label(ranges, topic, time_ns)
