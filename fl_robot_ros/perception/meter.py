"""Rates, latencies and ages of results."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# Percentiles are those of so many results.
_WINDOW = 300


@dataclass(frozen=True)
class Reading:
    """What a meter says.

    Attributes:
        rate_hz: Results per second since the reading before.
        latency_ms: Median and 95th percentile of the time from the start of decoding to the
            result, in ms; None without results.
        age_ms: The same of the time from a frame's publication to its result.
    """

    rate_hz: float
    latency_ms: tuple[float, float] | None
    age_ms: tuple[float, float] | None


class Meter:
    """Owns the times of the last 300 results; one thread adds, another reads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start empty.

        Args:
            clock: Steady time in s.
        """
        self._clock = clock
        self._lock = threading.Lock()
        self._times: deque[tuple[float, float]] = deque(maxlen=_WINDOW)
        self._count = 0
        self._read_at = clock()

    def add(self, latency_sec: float, age_sec: float) -> None:
        """Count a result, with its times in s."""
        with self._lock:
            self._times.append((latency_sec, age_sec))
            self._count += 1

    def read(self) -> Reading:
        """Return the numbers; the rate begins anew."""
        with self._lock:
            times, count = list(self._times), self._count
            now, self._count = self._clock(), 0
            elapsed_sec, self._read_at = max(now - self._read_at, 1e-3), now
        if not times:
            return Reading(0.0, None, None)
        (latency, age), (slow_latency, high_age) = 1000.0 * np.percentile(times, [50, 95], axis=0)
        return Reading(
            count / elapsed_sec,
            (float(latency), float(slow_latency)),
            (float(age), float(high_age)),
        )
