"""Waiting for something to become true, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

DEADLINE_SEC = 60.0
_POLL_SEC = 0.02


def wait_until(condition: Callable[[], T], what: str, timeout_sec: float = DEADLINE_SEC) -> T:
    """Return the first true value of the condition.

    Raises:
        AssertionError: It did not become true in time.
    """
    end = time.monotonic() + timeout_sec
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= end:
            raise AssertionError(f"waited {timeout_sec:g} s in vain: {what}")
        time.sleep(_POLL_SEC)
