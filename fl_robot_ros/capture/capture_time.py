"""The capture times of frames: their stamps, as long as the stamps advance."""

from __future__ import annotations

import logging
from typing import NamedTuple

from fl_robot_ros.capture.verdicts import FirstTime

# Stamps closer together than any camera's frames stand still, if time passes meanwhile.
_LEAST_STEP_NS = 1_000_000
# Ratio of passed time to the step between stamps above which the stamps stand still. It stays low
# for a camera that is so fast, and for a recording that is played fast.
_SHARE = 10

_logger = logging.getLogger(__name__)


class _Anchor(NamedTuple):
    """The newest frame with a new stamp: stamp and publication in ns."""

    stamp_ns: int
    published_ns: int


class CaptureTime:
    """Capture times from stamps that may stand still.

    Some drivers give all frames one stamp, or full seconds, or microseconds in the place of
    nanoseconds. While stamps stand still, time advances with publication.
    """

    def __init__(self) -> None:
        """Begin."""
        self._anchors: dict[str, _Anchor] = {}
        self._first_time = FirstTime()

    def at(self, topic: str, stamp_ns: int, published_ns: int) -> int:
        """Return a frame's time in ns; call it once for every frame, in order of arrival.

        Args:
            topic: Name of its topic.
            stamp_ns: Its stamp in ns.
            published_ns: When it was published, or recorded, in ns.
        """
        anchor = self._anchors.get(topic)
        if anchor is not None:
            step_ns = abs(stamp_ns - anchor.stamp_ns)
            passed_ns = published_ns - anchor.published_ns
            if step_ns < _LEAST_STEP_NS and _SHARE * step_ns < passed_ns:
                if step_ns and self._first_time.of(topic):
                    _logger.warning(
                        "topic %s: the stamps of frames that came in %.3f s differ by %d ns; "
                        "while they stand still, frames are sampled by the time of publication",
                        topic,
                        passed_ns / 1e9,
                        step_ns,
                    )
                return anchor.stamp_ns + passed_ns
        self._anchors[topic] = _Anchor(stamp_ns, published_ns)
        return stamp_ns
