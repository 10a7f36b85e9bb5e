"""What the demonstration says of its own result."""

from __future__ import annotations

import pytest

from fl_robot_ros.demo.report import DemoReport, RoundResult


def report(curve: list[float], federated: float) -> DemoReport:
    rounds = [RoundResult(n, accuracy, 2.0, 1.0, 1.0) for n, accuracy in enumerate(curve, 1)]
    return DemoReport(
        scene="shapes",
        federated_accuracy=federated,
        delivered_round=1,
        alone_accuracy={"robot1": 0.74, "robot2": 0.75},
        central_accuracy=0.98,
        rounds=rounds,
        model_paths={},
        images={"robot1": 900, "robot2": 900},
        total_sec=60.0,
    )


def test_a_fleet_that_is_better_is_said_to_be() -> None:
    text = report([0.5, 0.9], 0.9).conclusion()
    assert "Together the robots are right 90% of the time, alone 75% at best" in text
    assert "in one place 98%" in text


@pytest.mark.parametrize(
    ("curve", "is_rising", "rounds"),
    [
        ([0.4, 0.5, 0.7], True, 7),
        ([0.4, 0.7, 0.7], False, 7),
        ([0.7], False, 7),
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7], True, 14),
    ],
)
def test_a_fleet_that_is_not_better_yet_is_said_to_need_more_rounds(
    curve: list[float], is_rising: bool, rounds: int
) -> None:
    text = report(curve, curve[-1]).conclusion()
    assert f"After {len(curve)} round" in text
    assert "no better than robot2 alone" in text
    assert ("still rising" in text) is is_rising
    assert text.endswith(f"--rounds {rounds}")


def test_the_model_delivered_is_told_from_the_rounds_that_look_better_on_test_frames() -> None:
    cells = [*report([0.8, 0.9], 0.8).comparison_table().columns[2].cells]
    assert "round 1, the best on the robots' own images" in cells
