"""Brings frames of a camera together with what perception said of them."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

_FrameT = TypeVar("_FrameT")

# Frames wait for their results up to these limits; a model that is slower is shown as missing.
_MOST_WAITING = 60
_MOST_BYTES = 100_000_000
# So long after the last result, frames are shown without waiting for one.
_PATIENCE_SEC = 1.0


@dataclass(frozen=True)
class ViewedResult:
    """What perception said of one frame.

    Attributes:
        label: The label, "" for none.
        confidence: Its probability, 0 to 1; None where it is unknown.
        version: The model's version, "" where it is unknown.
        error: Why the frame was not classified, "" where it was.
    """

    label: str
    confidence: float | None = None
    version: str = ""
    error: str = ""


class MatchedFrames(Generic[_FrameT]):
    """Keeps the last frames until their results come. For one thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin without frames.

        Args:
            clock: Returns a time in s that never goes back.
        """
        self._clock = clock
        self._frames: OrderedDict[int, tuple[_FrameT, int]] = OrderedDict()
        self._early: OrderedDict[int, ViewedResult] = OrderedDict()
        self._heard_at = -_PATIENCE_SEC

    def add_frame(
        self, stamp_ns: int, frame: _FrameT, size_bytes: int
    ) -> tuple[_FrameT, ViewedResult | None] | None:
        """Take a frame; return it if it can be shown now, with its result where there is one.

        Args:
            stamp_ns: The frame's stamp in ns.
            frame: The frame.
            size_bytes: The memory that it takes.
        """
        if stamp_ns in self._early:
            self._frames.clear()
            return frame, self._early.pop(stamp_ns)
        self._frames[stamp_ns] = frame, size_bytes
        while len(self._frames) > 1 and (
            len(self._frames) > _MOST_WAITING
            or sum(size for _, size in self._frames.values()) > _MOST_BYTES
        ):
            self._frames.popitem(last=False)
        is_silent = self._clock() - self._heard_at > _PATIENCE_SEC
        return (frame, None) if is_silent else None

    def add_result(
        self, stamp_ns: int, result: ViewedResult
    ) -> tuple[_FrameT, ViewedResult] | None:
        """Take a result; return it with its frame, None where that has not come or is gone.

        Args:
            stamp_ns: Stamp of the result's frame in ns.
            result: The result.
        """
        self._heard_at = self._clock()
        if stamp_ns not in self._frames:
            self._early[stamp_ns] = result
            if len(self._early) > _MOST_WAITING:
                self._early.popitem(last=False)
            return None
        frame, _ = self._frames[stamp_ns]
        # What is older was skipped.
        while self._frames and stamp_ns in self._frames:
            self._frames.popitem(last=False)
        return frame, result


class Rate:
    """Events per second, over the last two seconds."""

    _WINDOW_SEC = 2.0

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with no event.

        Args:
            clock: Returns a time in s that never goes back.
        """
        self._clock = clock
        self._times: list[float] = []

    def count(self) -> None:
        """Count an event."""
        self._times.append(self._clock())
        self._forget()

    def hz(self) -> float:
        """Return the rate in Hz, 0 for fewer than two events."""
        self._forget()
        if len(self._times) < 2:
            return 0.0
        return (len(self._times) - 1) / max(1e-9, self._times[-1] - self._times[0])

    def _forget(self) -> None:
        oldest = self._clock() - self._WINDOW_SEC
        self._times = [moment for moment in self._times if moment >= oldest]
