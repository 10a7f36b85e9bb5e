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
# So long after the last match, frames are shown without waiting for one; a model that is slower
# than that gets several times what it took.
_PATIENCE_SEC = 1.0
_PATIENCE_INTERVALS = 3.0
_MOST_PATIENCE_SEC = 10.0


@dataclass(frozen=True)
class ViewedResult:
    """What perception said of one frame.

    Attributes:
        label: The label, "" for none.
        confidence: Its probability, 0 to 1; None where it is unknown.
        version: The model's version, "" where it is unknown.
        reason: Why there is no label, "" where there is one.
    """

    label: str
    confidence: float | None = None
    version: str = ""
    reason: str = ""


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
        self._matched_at: float | None = None
        self._patience_sec = _PATIENCE_SEC

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
            self._note_match()
            return frame, self._early.pop(stamp_ns)
        self._frames[stamp_ns] = frame, size_bytes
        while len(self._frames) > 1 and (
            len(self._frames) > _MOST_WAITING
            or sum(size for _, size in self._frames.values()) > _MOST_BYTES
        ):
            self._frames.popitem(last=False)
        matched_at = self._matched_at
        is_alone = matched_at is None or self._clock() - matched_at > self._patience_sec
        return (frame, None) if is_alone else None

    def add_result(
        self, stamp_ns: int, result: ViewedResult
    ) -> tuple[_FrameT, ViewedResult] | None:
        """Take a result; return it with its frame, None where that has not come or is gone.

        Args:
            stamp_ns: Stamp of the result's frame in ns.
            result: The result.
        """
        if stamp_ns not in self._frames:
            self._early[stamp_ns] = result
            if len(self._early) > _MOST_WAITING:
                self._early.popitem(last=False)
            return None
        frame, _ = self._frames[stamp_ns]
        # What is older was skipped.
        while self._frames and stamp_ns in self._frames:
            self._frames.popitem(last=False)
        self._note_match()
        return frame, result

    def _note_match(self) -> None:
        now = self._clock()
        interval_sec = 0.0 if self._matched_at is None else now - self._matched_at
        wanted = _PATIENCE_INTERVALS * interval_sec
        self._patience_sec = min(max(wanted, _PATIENCE_SEC), _MOST_PATIENCE_SEC)
        self._matched_at = now


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
