from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fl_robot_ros.delivery.predictor import Prediction, Predictor
from fl_robot_ros.errors import ModelError
from fl_robot_ros.perception.model_switch import ModelSwitch

WriteVersion = Callable[..., Path]


class Clock:
    """A time that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Run:
    """A switch, what it said, and a camera that turns from colour to colour."""

    def __init__(self, probation_sec: float = 10.0) -> None:
        self.clock = Clock()
        self.said: list[str] = []
        self.switch = ModelSwitch(
            probation_sec,
            0.0,
            lambda predictor: self.said.append(predictor.version),
            lambda predictor, reason: self.said.append(f"not {predictor.version}: {reason}"),
            self.clock,
        )

    def see(self, seconds: float) -> list[str]:
        """Show images at 10 Hz; return the labels."""
        labels = []
        for number in range(round(seconds * 10)):
            self.switch.adopt()
            image = plain(number // 10 % 3)
            try:
                tried = self.switch.predict(image)
                labels.append(tried.prediction.label)
                self.switch.judge(image, tried)
            except ModelError:
                labels.append("")
                self.switch.judge(image, None)
            self.clock.now += 0.1
        return labels


class Failing(Predictor):
    """A model that fails on every image."""

    def predict(self, image: NDArray[np.uint8]) -> Prediction:
        if image.any():  # At its load, a black image passes.
            raise ModelError("it fails")
        return super().predict(image)


def plain(colour: int) -> NDArray[np.uint8]:
    image = np.zeros((24, 32, 3), np.uint8)
    image[:, :, colour] = 255
    return image


def test_a_model_that_says_one_class_to_all_is_left_and_not_taken_again(
    write_version: WriteVersion,
) -> None:
    run = Run()
    good, red = Predictor(write_version("v1")), Predictor(write_version("v2", model="red"))
    run.switch.offer(good)
    assert set(run.see(20.0)) == {"red", "green", "blue"}
    assert not run.switch.is_on_probation
    run.switch.offer(red)
    run.switch.refuse_rejected(red)
    labels = run.see(60.0)
    assert labels[:10] == 10 * ["red"]
    assert set(labels[-30:]) == {"red", "green", "blue"}
    assert run.said[:2] == ["v1", "v2"]
    assert run.said[2].startswith("not v2: it says 'red' to ")
    assert run.said[3:] == ["v1"]
    with pytest.raises(ModelError, match=r"v2 failed its probation here: it says 'red'"):
        run.switch.refuse_rejected(red)


def test_a_model_that_fails_is_left_within_five_images(write_version: WriteVersion) -> None:
    run = Run()
    run.switch.offer(Predictor(write_version("v1")))
    run.see(20.0)
    run.switch.offer(Failing(write_version("v2")))
    assert run.see(1.0) == [*5 * [""], *5 * ["red"]]
    assert run.said == ["v1", "v2", "not v2: it failed on 5 of 5 images", "v1"]


def test_what_fails_goes_back_past_a_model_that_was_still_on_probation(
    write_version: WriteVersion,
) -> None:
    run = Run()
    run.switch.offer(Predictor(write_version("v1")))
    run.see(20.0)
    run.switch.offer(Predictor(write_version("v2")))
    run.see(2.0)
    run.switch.offer(Failing(write_version("v3")))
    run.see(2.0)
    assert run.said[-1] == "v1"


def test_a_model_that_passes_is_the_one_to_go_back_to(write_version: WriteVersion) -> None:
    run = Run()
    run.switch.offer(Predictor(write_version("v1")))
    run.see(20.0)
    run.switch.offer(Predictor(write_version("v2", classes=["r", "g", "b"])))
    assert run.switch.is_on_probation is False  # Not before the next frame.
    run.see(1.0)
    assert run.switch.is_on_probation
    run.see(20.0)
    assert not run.switch.is_on_probation
    run.switch.offer(Failing(write_version("v3")))
    run.see(2.0)
    assert run.said == ["v1", "v2", "v3", "not v3: it failed on 5 of 5 images", "v2"]


def test_the_first_model_has_nothing_to_go_back_to(write_version: WriteVersion) -> None:
    run = Run()
    run.switch.offer(Failing(write_version("v1")))
    run.see(2.0)
    assert run.said == ["v1", "not v1: it failed on 5 of 5 images"]
    run.switch.offer(Predictor(write_version("v2")))
    assert set(run.see(5.0)) == {"red", "green", "blue"}


def test_a_restart_does_not_end_a_probation(write_version: WriteVersion) -> None:
    run = Run()
    before, red = Predictor(write_version("v1")), Predictor(write_version("v2", model="red"))
    run.switch.offer(red, before)
    run.see(60.0)
    assert run.said[0] == "v2"
    assert run.said[1].startswith("not v2: it says 'red' to ")
    assert run.said[2:] == ["v1"]


def test_the_model_in_use_may_be_announced_again(write_version: WriteVersion) -> None:
    run = Run()
    folder = write_version("v1")
    for _ in range(3):
        run.switch.offer(Predictor(folder))
        run.see(1.0)
    assert run.said == ["v1"]


def test_without_a_probation_every_model_stays(write_version: WriteVersion) -> None:
    run = Run(probation_sec=0.0)
    for number in (1, 2):
        run.switch.offer(Failing(write_version(f"v{number}")))
        run.see(3.0)
    assert run.said == ["v1", "v2"]
