"""The model in use, the last known good one, and the probation between them."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.delivery.predictor import Prediction, Predictor
from fl_robot_ros.errors import ModelError
from fl_robot_ros.perception.probation import Probation, Tried


class ModelSwitch:
    """Exchanges models between two frames, and goes back where one fails its probation.

    `offer`, `refuse_rejected` and the properties may be used by any thread, all else by the thread
    of the inference.
    """

    def __init__(
        self,
        probation_sec: float,
        max_latency_ms: float,
        on_use: Callable[[Predictor], None],
        on_rejected: Callable[[Predictor, str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start without a model.

        Args:
            probation_sec: Shortest time of a probation in s; 0: none.
            max_latency_ms: Limit of a model's median latency in a probation, in ms; 0: none.
            on_use: Called with the model that is used from the next frame on.
            on_rejected: Called with a model that failed its probation and the reason; `on_use`
                follows where there is a model to go back to.
            clock: Steady time in s.
        """
        self._probation_sec = probation_sec
        self._max_latency_ms = max_latency_ms
        self._on_use = on_use
        self._on_rejected = on_rejected
        self._clock = clock
        self._offered: deque[tuple[Predictor, Predictor | None]] = deque()
        self._in_use: Predictor | None = None
        self._good: Predictor | None = None
        self._probation: Probation | None = None
        self._lock = threading.Lock()
        # Why models failed, by version and SHA-256 of their file.
        self._rejected: dict[tuple[str, str], str] = {}

    @property
    def in_use(self) -> Predictor | None:
        """The model in use."""
        return self._in_use

    @property
    def good(self) -> Predictor | None:
        """The model that a failed probation goes back to."""
        return self._good

    @property
    def is_on_probation(self) -> bool:
        """Whether the model in use is on probation."""
        return self._probation is not None

    def offer(self, predictor: Predictor, previous: Predictor | None = None) -> None:
        """Have a model used from the next frame on.

        Args:
            predictor: The model.
            previous: The model to compare with and to go back to where none was used yet.
        """
        self._offered.append((predictor, previous))

    def refuse_rejected(self, predictor: Predictor) -> None:
        """Check that a model did not fail a probation of this process.

        Raises:
            ModelError: It did.
        """
        reason = self._rejection(predictor)
        if reason is not None:
            raise ModelError(
                f"{predictor.version} failed its probation here: {reason}; restart fl_perception "
                "to try it once more"
            )

    def adopt(self) -> None:
        """Use the model that was offered last; one that is in use already changes nothing."""
        while self._offered:
            predictor, previous = self._offered.popleft()
            if self._in_use is None:
                self._good = previous
            is_in_use = self._in_use is not None and predictor.manifest == self._in_use.manifest
            # It may have failed between its load and now.
            if not is_in_use and self._rejection(predictor) is None:
                self._begin(predictor)

    def predict(self, image: NDArray[np.uint8]) -> Tried:
        """Classify an image with the model in use; there must be one.

        Args:
            image: Image, uint8 (H, W, 3), RGB.

        Raises:
            FrameError: The image has another shape or type.
            ModelError: The model fails.
        """
        assert self._in_use is not None
        return self._try(self._in_use, image)

    def judge(self, image: NDArray[np.uint8], tried: Tried | None) -> None:
        """Let the probation take note of an image, and end it where it is time to.

        Args:
            image: Image, uint8 (H, W, 3), RGB.
            tried: What the model in use said of it, None if it failed.
        """
        probation = self._probation
        if probation is None:
            return
        if tried is None:
            probation.add_failure()
        elif probation.add(tried) and self._good is not None:
            try:
                probation.add_pair(tried, self._try(self._good, image))
            except ModelError:
                pass  # Nothing to compare with.
        reason = probation.breach()
        if reason:
            self._go_back(reason)
        elif probation.is_over:
            self._good, self._probation = self._in_use, None

    def _rejection(self, predictor: Predictor) -> str | None:
        """Return why a model failed its probation, None if it did not."""
        with self._lock:
            return self._rejected.get((predictor.version, predictor.sha256))

    def _begin(self, predictor: Predictor) -> None:
        is_known = self._good is not None and predictor.manifest == self._good.manifest
        self._in_use = predictor
        if self._probation_sec <= 0 or is_known:
            self._good, self._probation = predictor, None
        else:
            self._probation = Probation(
                self._probation_sec,
                self._max_latency_ms,
                has_previous=self._good is not None,
                clock=self._clock,
            )
        self._on_use(predictor)

    def _go_back(self, reason: str) -> None:
        """Use the last known good model again; without one, the new one stays."""
        rejected, self._probation = self._in_use, None
        assert rejected is not None
        with self._lock:
            self._rejected[rejected.version, rejected.sha256] = reason
        self._on_rejected(rejected, reason)
        if self._good is not None:
            self._in_use = self._good
            self._on_use(self._good)

    def _try(self, predictor: Predictor, image: NDArray[np.uint8]) -> Tried:
        started = self._clock()
        prediction: Prediction = predictor.predict(image)
        return Tried(prediction, self._clock() - started)
