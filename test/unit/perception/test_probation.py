from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from fl_robot_ros.delivery.predictor import Prediction
from fl_robot_ros.perception.probation import MIN_PAIRS, Probation, Tried


class Clock:
    """A time that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def said(
    label: str, confidence: float = 0.9, latency_sec: float = 0.01, classes: int = 4
) -> Tried:
    rest = (1.0 - confidence) / (classes - 1)
    scores = np.array([confidence, *[rest] * (classes - 1)], np.float32)
    return Tried(Prediction(label, confidence, scores), latency_sec)


def verdict(
    pairs: Iterable[tuple[Tried, Tried]], max_latency_ms: float = 0.0
) -> tuple[str, Probation]:
    """Show a probation images at 30 Hz; return the first reason to go back, or ""."""
    clock = Clock()
    probation = Probation(10.0, max_latency_ms, has_previous=True, clock=clock)
    for new, previous in pairs:
        if probation.add(new):
            probation.add_pair(new, previous)
        reason = probation.breach()
        if reason:
            return reason, probation
        clock.now += 1 / 30
    return "", probation


def scene(number: int) -> str:
    """What a robot that drives about meets."""
    return ("pallet", "person", "forklift")[number // 40 % 3]


def test_a_model_that_does_as_well_passes_after_its_time() -> None:
    reason, probation = verdict((said(scene(n)), said(scene(n))) for n in range(299))
    assert (reason, probation.is_over) == ("", False)
    reason, probation = verdict((said(scene(n)), said(scene(n))) for n in range(310))
    assert (reason, probation.is_over) == ("", True)


def test_time_alone_is_no_pass() -> None:
    clock = Clock()
    probation = Probation(10.0, 0.0, has_previous=True, clock=clock)
    clock.now += 1000.0
    assert not probation.is_over
    for _ in range(MIN_PAIRS):
        assert probation.add(said("person"))
        probation.add_pair(said("person"), said("person"))
        clock.now += 1.0
    assert probation.is_over


def test_the_model_before_is_asked_about_five_images_a_second() -> None:
    clock = Clock()
    probation = Probation(10.0, 0.0, has_previous=True, clock=clock)
    asked = 0
    for _ in range(300):
        asked += probation.add(said("person"))
        clock.now += 1 / 30
    assert 40 <= asked <= 51


def test_a_robot_before_a_wall_is_no_reason() -> None:
    reason, _ = verdict((said("wall"), said("wall")) for _ in range(600))
    assert reason == ""


def test_a_dark_room_is_no_reason() -> None:
    reason, _ = verdict((said("wall", 0.3), said("person", 0.35)) for _ in range(600))
    assert reason == ""


def test_an_unsure_model_that_flickers_does_not_accuse_a_steady_one() -> None:
    reason, _ = verdict((said("wall", 0.7), said(scene(n * 40), 0.5)) for n in range(600))
    assert reason == ""


def test_one_class_that_takes_all_is_a_reason() -> None:
    reason, _ = verdict((said("pallet", 0.99), said(scene(n))) for n in range(600))
    assert "'pallet'" in reason
    assert "sure of" in reason


def test_a_collapse_of_confidence_is_a_reason() -> None:
    reason, _ = verdict((said(scene(n), 0.4), said(scene(n), 0.9)) for n in range(600))
    assert "confidence collapsed" in reason
    assert "0.20" in reason


def test_more_classes_and_less_overconfidence_are_no_reason() -> None:
    reason, _ = verdict(
        (said(scene(n), 0.5, classes=10), said(scene(n), 0.95, classes=3)) for n in range(600)
    )
    assert reason == ""


def test_latency_is_compared_or_has_a_limit() -> None:
    slow, fast = said("wall", latency_sec=0.16), said("wall", latency_sec=0.01)
    reason, _ = verdict((slow, fast) for _ in range(300))
    assert "160 ms" in reason
    reason, _ = verdict((slow, slow) for _ in range(300))
    assert reason == ""
    reason, _ = verdict(((slow, slow) for _ in range(300)), max_latency_ms=100.0)
    assert "max_latency_ms" in reason
    reason, _ = verdict(((slow, fast) for _ in range(300)), max_latency_ms=200.0)
    assert reason == ""
    # A larger model that is fast enough.
    reason, _ = verdict((said("a", latency_sec=0.09), fast) for _ in range(300))
    assert reason == ""


def test_failures_are_a_reason_and_a_single_one_is_not() -> None:
    probation = Probation(10.0, 0.0, has_previous=False, clock=Clock())
    for _ in range(4):
        probation.add_failure()
        assert probation.breach() == ""
    probation.add_failure()
    assert probation.breach() == "it failed on 5 of 5 images"
    probation = Probation(10.0, 0.0, has_previous=False, clock=Clock())
    for number in range(1000):
        if number % 20:
            probation.add(said("wall"))
        else:
            probation.add_failure()
        if number > 100:
            assert probation.breach() == ""
