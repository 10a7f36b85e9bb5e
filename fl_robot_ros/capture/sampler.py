"""Which frames of a camera are kept, by capture time."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from fl_robot_ros.capture.verdicts import FirstTime
from fl_robot_ros.topic_name import sibling_topic

_NS_PER_SEC = 1_000_000_000
# A step back of more than this, or of a whole period, is a clock set anew or a bag played again.
_MAX_DISORDER_NS = _NS_PER_SEC
# Silence after which a topic gives way to another topic of its camera.
_SILENCE_NS = 10 * _NS_PER_SEC
# Divisor: the share of the newest value in the running estimates of frame interval and phase.
_GAIN = 8


_logger = logging.getLogger(__name__)


@dataclass
class _Grid:
    """The times at which frames of one topic are wanted, in ns.

    Attributes:
        due_ns: Next wanted time.
        last_ns: Newest stamp seen.
        interval_ns: Running estimate of the time between two frames; 0: not known yet.
    """

    due_ns: int
    last_ns: int
    interval_ns: int = 0


class RateSampler:
    """Keeps the frames nearest to an even grid of times, for each camera on its own.

    Of a camera's raw and compressed topics, the first with a frame is taken until it falls silent.

    "Nearest" means within half the camera's own frame interval: in spite of jitter, a 30 Hz camera
    sampled at 5 Hz keeps every sixth frame. The grid advances from its own times, not from the
    last kept frame, so the rate does not drift.
    """

    def __init__(self, rate_hz: float) -> None:
        """Make a sampler.

        Args:
            rate_hz: Frames to keep per second and camera, above 0.
        """
        self._period_ns = max(1, round(_NS_PER_SEC / rate_hz))
        self._grids: dict[str, _Grid] = {}
        self._first_time = FirstTime()

    def accept(self, topic: str, stamp_ns: int) -> bool:
        """Return whether to keep a frame; call it once for every frame, in order of arrival.

        Args:
            topic: Name of the camera's topic.
            stamp_ns: Capture time of the frame in ns, from `CaptureTime`.
        """
        grid = self._grids.get(topic)
        if grid is None and self._is_of_other(topic, stamp_ns):
            return False
        back_ns = min(self._period_ns, _MAX_DISORDER_NS)
        if grid is None or stamp_ns < grid.last_ns - back_ns:
            self._grids[topic] = _Grid(stamp_ns + self._period_ns, stamp_ns)
            return True
        step_ns = stamp_ns - grid.last_ns
        if step_ns > 0:
            step_ns = min(step_ns, self._period_ns)
            grid.interval_ns += (step_ns - grid.interval_ns) // (_GAIN if grid.interval_ns else 1)
            grid.last_ns = stamp_ns
        reach_ns = stamp_ns + grid.interval_ns // 2
        if reach_ns < grid.due_ns:
            return False
        nearest_ns = grid.due_ns + (reach_ns - grid.due_ns) // self._period_ns * self._period_ns
        # The grid follows the camera's phase slowly, so that one late frame does not bend it.
        grid.due_ns = nearest_ns + self._period_ns + (stamp_ns - nearest_ns) // _GAIN
        return True

    def _is_of_other(self, topic: str, stamp_ns: int) -> bool:
        """Return whether the frames of a topic's camera are taken from another topic."""
        sibling = sibling_topic(topic)
        grid = self._grids.get(sibling)
        if grid is None:
            return False
        if abs(stamp_ns - grid.last_ns) > _SILENCE_NS:
            del self._grids[sibling]
            return False
        if self._first_time.of(topic):
            _logger.warning(
                "topic %s is left out: it is of the same camera as %s, which is taken",
                topic,
                sibling,
            )
        return True
