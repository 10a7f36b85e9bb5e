"""Time that goes on where the clock is set back."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from fl_robot_ros.capture.running_time import RunningTime

DISORDER = 10


def times(messages: list[tuple[str, int]]) -> list[int]:
    time = RunningTime(DISORDER)
    found = [time.at(topic, clock_ns) for topic, clock_ns in messages]
    assert time.newest_ns == max(found, default=0)
    return found


def test_time_is_that_of_the_clock_until_it_is_set_back() -> None:
    messages = [("a", 100), ("b", 103), ("a", 200), ("a", 120), ("b", 125), ("a", 210)]
    assert times(messages) == [100, 103, 200, 201, 206, 291]


def test_topics_that_come_one_after_another_keep_their_times() -> None:
    messages = [(topic, clock_ns) for topic in "abc" for clock_ns in range(100, 200, 5)]
    assert times(messages) == [clock_ns for _, clock_ns in messages]


def test_disorder_is_no_clock_set_back() -> None:
    assert times([("a", 100), ("a", 90), ("a", 105), ("a", 95)]) == [100, 90, 105, 95]


@given(
    st.lists(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 9)), min_size=1), max_size=4)
)
def test_what_comes_after_a_clock_set_back_is_later(eras: list[list[tuple[str, int]]]) -> None:
    messages = []
    clock_ns = 0
    for era in eras:
        for topic, step_ns in era:
            clock_ns += step_ns
            messages.append((topic, clock_ns))
        # Both topics show it at once, as the first of an era does for all after it.
        clock_ns -= 1000
        messages += [("a", clock_ns), ("b", clock_ns)]
    found = times([("a", 0), ("b", 0), *messages])[2:]
    for (before_ns, after_ns), (earlier, later) in zip(
        pairwise(clock_ns for _, clock_ns in messages), pairwise(found), strict=True
    ):
        assert later - earlier == (after_ns - before_ns if after_ns >= before_ns else 1)
