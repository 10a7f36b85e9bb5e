"""A frame is shown with its own result, whichever comes first, or alone where none comes."""

from __future__ import annotations

from fl_robot_ros.nodes.matched_frames import MatchedFrames, Rate, ViewedResult

CUP, BOX = ViewedResult("cup", 0.9, "v00001"), ViewedResult("box", 0.8, "v00001")


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_result_brings_its_own_frame() -> None:
    clock = Clock()
    frames: MatchedFrames[str] = MatchedFrames(clock)
    assert frames.add_frame(1, "one", 10) == ("one", None)
    assert frames.add_result(1, CUP) == ("one", CUP)
    for stamp_ns, name in ((2, "two"), (3, "three"), (4, "four")):
        assert frames.add_frame(stamp_ns, name, 10) is None
    assert frames.add_result(3, BOX) == ("three", BOX)
    assert frames.add_result(2, BOX) is None  # Older than what is shown.
    assert frames.add_result(4, BOX) == ("four", BOX)
    assert frames.add_result(5, CUP) is None
    assert frames.add_frame(5, "five", 10) == ("five", CUP)


def test_without_results_frames_are_shown_as_they_come() -> None:
    clock = Clock()
    frames: MatchedFrames[str] = MatchedFrames(clock)
    assert frames.add_frame(1, "one", 10) == ("one", None)
    frames.add_result(1, CUP)
    clock.now += 0.9
    assert frames.add_frame(3, "three", 10) is None
    clock.now += 0.2
    assert frames.add_frame(4, "four", 10) == ("four", None)
    # Results of other frames, such as those of another camera, do not count.
    frames.add_result(1_000, CUP)
    assert frames.add_frame(5, "five", 10) == ("five", None)


def test_a_slow_model_is_waited_for() -> None:
    clock = Clock()
    frames: MatchedFrames[int] = MatchedFrames(clock)
    shown = []
    for second in range(20):
        shown.append(frames.add_frame(second, second, 10))
        if second % 2:
            shown.append(frames.add_result(second - 1, CUP))
        clock.now += 1.0
    # At first each frame by itself, then those with results only.
    assert [match for match in shown if match][-8:] == [(n, CUP) for n in range(4, 20, 2)]


def test_frames_that_wait_for_results_are_bounded() -> None:
    frames: MatchedFrames[int] = MatchedFrames(Clock())
    frames.add_frame(0, 0, 1)
    frames.add_result(0, CUP)
    for number in range(1, 100):
        frames.add_frame(number, number, 6_000_000)
    assert frames.add_result(80, CUP) is None
    assert frames.add_result(99, CUP) == (99, CUP)
    assert frames.add_frame(200, 200, 10**9) is None
    assert frames.add_result(200, CUP) == (200, CUP)


def test_a_rate_is_that_of_the_last_two_seconds() -> None:
    clock = Clock()
    rate = Rate(clock)
    assert rate.hz() == 0.0
    for _ in range(50):
        rate.count()
        clock.now += 0.1
    assert round(rate.hz(), 6) == 10.0
    clock.now += 3.0
    assert rate.hz() == 0.0
