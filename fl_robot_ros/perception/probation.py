"""The probation of a new model on the robot's own camera, beside the model before it."""

from __future__ import annotations

import statistics
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from fl_robot_ros.delivery.predictor import Prediction

# So many images are compared before anything is said of confidence, labels and latency.
MIN_PAIRS = 20
# The newest so many count.
_WINDOW = 300
# At most so often an image is given to the model before, too: 5 times a second.
_PAIR_PERIOD_SEC = 0.2
# A model that fails on a single image may have met a bad one.
_MIN_FAILURES = 5
_MAX_FAILED_SHARE = 0.1
# Without `max_latency_ms`: so many times the median of the model before, and slower than 10 Hz.
_MAX_LATENCY_RATIO = 5.0
_SLOW_SEC = 0.1
# Of the confidence beyond guessing, so much of the model before's is kept.
_MIN_CONFIDENCE_KEPT = 1 / 3
_SOME_CONFIDENCE = 0.2
# One class for so many images, where the model before is sure of several.
_ALL = 0.95
_SEVERAL = 0.7
_SURE = 0.8


@dataclass(frozen=True)
class Tried:
    """What a model said of an image, and how long it took.

    Attributes:
        prediction: Label, confidence and probabilities.
        latency_sec: Time of preprocessing and inference, in s.
    """

    prediction: Prediction
    latency_sec: float

    @property
    def gain(self) -> float:
        """Confidence beyond guessing: 0 for all classes alike, 1 for certainty."""
        guess = 1.0 / len(self.prediction.probabilities)
        return (self.prediction.confidence - guess) / (1.0 - guess) if guess < 1.0 else 1.0


class Probation:
    """Compares a new model with the one before it on the same images, and says when to go back.

    A robot that stands before a wall sees one class, and a dark room makes every model unsure. So
    the model before is asked about some of the same images, and counts as the measure: what both
    do is the scene's doing.
    """

    def __init__(
        self,
        duration_sec: float,
        max_latency_ms: float,
        *,
        has_previous: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin.

        Args:
            duration_sec: Shortest time of the probation in s.
            max_latency_ms: Limit of the median latency in ms; 0: the model before is the measure.
            has_previous: Whether there is a model to compare with.
            clock: Steady time in s.
        """
        self._max_latency_sec = max_latency_ms / 1000.0
        self._has_previous = has_previous
        self._clock = clock
        self._ends_at = clock() + duration_sec
        self._next_pair_at = clock()
        self._asked = 0
        self._failures = 0
        self._latencies_sec: deque[float] = deque(maxlen=_WINDOW)
        self._pairs: deque[tuple[Tried, Tried]] = deque(maxlen=_WINDOW)
        self._frames = 0

    @property
    def is_over(self) -> bool:
        """Whether time is over and enough was seen; without images a probation goes on."""
        seen = self._asked if self._has_previous else self._frames
        return seen >= MIN_PAIRS and self._clock() >= self._ends_at

    def add_failure(self) -> None:
        """Count an image that the new model failed on."""
        self._frames += 1
        self._failures += 1

    def add(self, tried: Tried) -> bool:
        """Take what the new model said of an image; return whether to ask the one before, too."""
        self._frames += 1
        self._latencies_sec.append(tried.latency_sec)
        if not self._has_previous or self._clock() < self._next_pair_at:
            return False
        self._next_pair_at = self._clock() + _PAIR_PERIOD_SEC
        self._asked += 1
        return True

    def add_pair(self, new: Tried, previous: Tried) -> None:
        """Take what both models said of one image."""
        self._pairs.append((new, previous))

    def breach(self) -> str:
        """Return why to go back to the model before, in one line; "" for no reason."""
        if self._failures >= _MIN_FAILURES and self._failures > _MAX_FAILED_SHARE * self._frames:
            return f"it failed on {self._failures} of {self._frames} images"
        return self._slowness() or self._difference()

    def _slowness(self) -> str:
        if self._max_latency_sec <= 0 or len(self._latencies_sec) < MIN_PAIRS:
            return ""
        median_sec = statistics.median(self._latencies_sec)
        if median_sec <= self._max_latency_sec:
            return ""
        return (
            f"its median latency is {_ms(median_sec)}; max_latency_ms is "
            f"{_ms(self._max_latency_sec)}"
        )

    def _difference(self) -> str:
        """Return what the new model does worse than the one before on the same images."""
        if len(self._pairs) < MIN_PAIRS:
            return ""
        slow, fast = (
            statistics.median(pair[side].latency_sec for pair in self._pairs) for side in (0, 1)
        )
        if self._max_latency_sec <= 0 and slow > max(_SLOW_SEC, _MAX_LATENCY_RATIO * fast):
            return f"its median latency is {_ms(slow)}, that of the model before {_ms(fast)}"
        gain, before = (
            statistics.fmean(pair[side].gain for pair in self._pairs) for side in (0, 1)
        )
        if before >= _SOME_CONFIDENCE and gain < _MIN_CONFIDENCE_KEPT * before:
            return (
                f"its confidence collapsed: beyond guessing it is {gain:.2f} on average, and "
                f"{before:.2f} that of the model before on the same {len(self._pairs)} images"
            )
        return self._single_class()

    def _single_class(self) -> str:
        """Say whether one class took all, on images that the model before was sure of."""
        sure = [pair for pair in self._pairs if pair[1].prediction.confidence >= _SURE]
        if len(sure) < MIN_PAIRS:
            return ""
        label, count = _commonest(pair[0] for pair in sure)
        _, count_before = _commonest(pair[1] for pair in sure)
        if count < _ALL * len(sure) or count_before > _SEVERAL * len(sure):
            return ""
        several = len({pair[1].prediction.label for pair in sure})
        return (
            f"it says {label!r} to {count} of {len(sure)} images, in which the model before is "
            f"sure of {several} classes"
        )


def _commonest(side: Iterable[Tried]) -> tuple[str, int]:
    """Return the commonest label and its number of images."""
    return Counter(one.prediction.label for one in side).most_common(1)[0]


def _ms(seconds: float) -> str:
    return f"{1000.0 * seconds:.3g} ms"
