"""The time by which frames are sampled: that of their stamps, as long as these go on."""

from __future__ import annotations

import logging
from typing import NamedTuple

from fl_robot_ros.capture.verdicts import FirstTime

# No camera takes frames closer together; stamps that are, while time passes, stand still.
_LEAST_STEP_NS = 1_000_000
# So much more time passes until stamps that differ by less than that stand still. Of a camera that
# does take frames so close together, or a recording that is played fast, none passes meanwhile.
_SHARE = 10

_logger = logging.getLogger(__name__)


class _Anchor(NamedTuple):
    """A frame whose stamp differed from those before it: stamp and publication in ns."""

    stamp_ns: int
    published_ns: int


class CaptureTime:
    """Capture times by stamps that may stand still.

    Drivers stamp all frames alike, or by the full second, or write microseconds where nanoseconds
    belong. While stamps stand still, time goes on as publication does.
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
