"""The thread that classifies frames, so that no callback of a node waits for a model."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.delivery.predictor import Prediction, Predictor
from fl_robot_ros.errors import FlRobotError, ModelError
from fl_robot_ros.images.decode import decode_frame
from fl_robot_ros.images.frame import Frame
from fl_robot_ros.perception.model_switch import ModelSwitch
from fl_robot_ros.perception.probation import Tried
from fl_robot_ros.perception.waiting_items import WaitingItems


@dataclass(frozen=True)
class Result:
    """What became of one frame.

    Attributes:
        frame: The frame.
        predictor: The model.
        prediction: What the model says; None where the frame could not be classified.
        image: The frame's image, uint8 (H, W, 3), RGB; None where it cannot be decoded.
        error: Why there is no prediction, "" where there is one.
        latency_sec: Time of decoding and inference, in s.
    """

    frame: Frame
    predictor: Predictor
    prediction: Prediction | None
    image: NDArray[np.uint8] | None
    error: str
    latency_sec: float


class Inference:
    """Owns the thread. Every frame that it takes gets exactly one result.

    Attributes:
        without_model: Frames that came before the first model and have no result.
    """

    def __init__(
        self,
        frames: WaitingItems[Frame],
        switch: ModelSwitch,
        on_result: Callable[[int, Result], None],
        on_crash: Callable[[Exception], None],
    ) -> None:
        """Start the thread.

        Args:
            frames: The frames of all cameras.
            switch: The models.
            on_result: Called in the thread with the camera's number and the result.
            on_crash: Called in the thread with an error that ended it.
        """
        self.without_model = 0
        self._frames = frames
        self._switch = switch
        self._on_result = on_result
        self._on_crash = on_crash
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread after the frame in progress."""
        self._frames.close()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._frames.is_closed:
                taken = self._frames.take()
                self._switch.adopt()
                if taken is not None:
                    self._classify(*taken)
        except Exception as error:
            self._on_crash(error)

    def _classify(self, camera: int, frame: Frame) -> None:
        predictor = self._switch.in_use
        if predictor is None:
            self.without_model += 1
            return
        image: NDArray[np.uint8] | None = None
        tried: Tried | None = None
        reason = ""
        has_failed = False
        started = time.monotonic()
        try:
            image = decode_frame(frame)
            tried = self._switch.predict(image)
        except FlRobotError as error:
            reason, has_failed = str(error), isinstance(error, ModelError)
        latency_sec = time.monotonic() - started
        prediction = tried.prediction if tried is not None else None
        self._on_result(camera, Result(frame, predictor, prediction, image, reason, latency_sec))
        # After the result is out, since it may take as long as the result took.
        if image is not None and (tried is not None or has_failed):
            self._switch.judge(image, tried)
