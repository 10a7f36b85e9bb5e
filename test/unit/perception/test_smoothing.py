from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fl_robot_ros.delivery.predictor import Prediction, Predictor
from fl_robot_ros.perception.smoothing import Smoothing

WriteVersion = Callable[..., Path]


def said(*probabilities: float) -> Prediction:
    values = np.array(probabilities, np.float32)
    label = ("red", "green", "blue")[int(values.argmax())]
    return Prediction(label, float(values.max()), values)


RED, GREEN = said(1.0, 0.0, 0.0), said(0.0, 1.0, 0.0)


@pytest.mark.parametrize("rate_hz", [5.0, 100.0])
def test_after_the_time_constant_the_past_counts_37_percent_at_every_rate(
    write_version: WriteVersion, rate_hz: float
) -> None:
    predictor, smoothing = Predictor(write_version()), Smoothing(2.0)
    assert smoothing.apply(RED, predictor, 0.0) == RED
    for number in range(1, round(2.0 * rate_hz) + 1):
        smoothed = smoothing.apply(GREEN, predictor, number / rate_hz)
    np.testing.assert_allclose(
        smoothed.probabilities, [np.exp(-1), 1 - np.exp(-1), 0.0], atol=1e-5
    )
    assert smoothed.label == "green"
    assert smoothed.confidence == pytest.approx(1 - np.exp(-1), abs=1e-5)


def test_a_single_other_frame_does_not_change_the_label(write_version: WriteVersion) -> None:
    predictor, smoothing = Predictor(write_version()), Smoothing(1.0)
    labels = [
        smoothing.apply(GREEN if number == 5 else RED, predictor, 0.1 * number).label
        for number in range(10)
    ]
    assert labels == 10 * ["red"]


def test_another_model_begins_anew(write_version: WriteVersion) -> None:
    first, second = Predictor(write_version("v1")), Predictor(write_version("v2"))
    smoothing = Smoothing(10.0)
    smoothing.apply(RED, first, 0.0)
    assert smoothing.apply(GREEN, second, 0.1).label == "green"


def test_without_a_time_constant_nothing_changes(write_version: WriteVersion) -> None:
    predictor, smoothing = Predictor(write_version()), Smoothing(0.0)
    assert [smoothing.apply(one, predictor, 0.0) for one in (RED, GREEN)] == [RED, GREEN]
