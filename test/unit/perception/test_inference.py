from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from waiting import wait_until

from fl_robot_ros.delivery.predictor import Prediction, Predictor
from fl_robot_ros.images.frame import Frame, RawFrame
from fl_robot_ros.perception.inference import Inference, Result
from fl_robot_ros.perception.model_switch import ModelSwitch
from fl_robot_ros.perception.waiting_items import WaitingItems

WriteVersion = Callable[..., Path]
PIXELS = np.full((24, 32, 3), (255, 0, 0), np.uint8).tobytes()


def frame(stamp_ns: int, encoding: str = "rgb8") -> RawFrame:
    return RawFrame("/camera", stamp_ns, stamp_ns, encoding, 24, 32, 96, False, PIXELS)


class Slow(Predictor):
    """A model that waits until the test lets it go on."""

    go_on: threading.Event | None = None

    def predict(self, image: NDArray[np.uint8]) -> Prediction:
        if self.go_on is not None:
            assert self.go_on.wait(60.0)
        return super().predict(image)


class Run:
    """The thread, with its frames and results."""

    def __init__(self, cameras: int = 1) -> None:
        self.frames: WaitingItems[Frame] = WaitingItems(cameras)
        self.switch = ModelSwitch(0.0, 0.0, lambda predictor: None, lambda predictor, why: None)
        self.results: list[tuple[int, Result]] = []
        self.crashes: list[Exception] = []
        self.inference = Inference(self.frames, self.switch, self.take, self.crashes.append)

    def take(self, camera: int, result: Result) -> None:
        self.results.append((camera, result))

    def use(self, predictor: Predictor) -> None:
        self.switch.offer(predictor)
        self.frames.wake()
        wait_until(lambda: self.switch.in_use is predictor, "the model")


def test_a_slow_model_gets_the_newest_frame_of_each_camera(write_version: WriteVersion) -> None:
    run = Run(cameras=2)
    slow = Slow(write_version())
    slow.go_on = threading.Event()
    run.use(slow)
    run.frames.offer(0, frame(1))
    wait_until(lambda: not any(run.frames._queues), "the first frame is taken")
    for number in range(2, 11):
        run.frames.offer(0, frame(number))
        run.frames.offer(1, frame(100 + number))
    slow.go_on.set()
    wait_until(lambda: len(run.results) == 3, "three results")
    run.inference.stop()
    stamps = [(camera, result.frame.stamp_ns) for camera, result in run.results]
    assert stamps == [(0, 1), (1, 110), (0, 10)]
    assert run.frames.dropped == [8, 8]


def test_every_frame_that_is_taken_has_one_result(write_version: WriteVersion) -> None:
    run = Run()
    run.frames.offer(0, frame(1))
    wait_until(lambda: run.inference.without_model == 1, "a frame before the model")
    run.use(Predictor(write_version()))
    for number, encoding in enumerate(("rgb8", "nonsense", "rgb8")):
        run.frames.offer(0, frame(number, encoding))
        wait_until(lambda n=number: len(run.results) == n + 1, "a result")  # type: ignore[misc]
    run.inference.stop()
    sound, broken, _ = (result for _, result in run.results)
    assert sound.prediction is not None
    assert (sound.prediction.label, sound.error) == ("red", "")
    assert broken.prediction is None
    assert "nonsense" in broken.error
    assert not run.crashes


def test_an_error_of_the_program_is_told_and_not_swallowed(write_version: WriteVersion) -> None:
    run = Run()
    error = RuntimeError("a fault")

    def fail(camera: int, result: Result) -> None:
        raise error

    run.take = fail  # type: ignore[method-assign]
    run.inference._on_result = fail
    run.use(Predictor(write_version()))
    run.frames.offer(0, frame(1))
    wait_until(lambda: run.crashes == [error], "the error")
    run.inference.stop()
