"""The labels of a time line, as they are published."""

from __future__ import annotations

import bisect
import math
import sys
import threading
from fractions import Fraction

from fl_robot_ros.errors import SettingError
from fl_robot_ros.labels.label_text import clean_label

# Labels that are kept in any case, and the most that are kept for frames that wait: a node that
# repeats its label 100 times a second reaches them after 20 minutes.
MAX_HISTORY = 4096
MAX_LABELS = 1 << 17

_NS_PER_SEC = 1_000_000_000


class LabelTrack:
    """The labels of a time line: each holds from its publication until the next one.

    With `hold_sec` a label holds no longer than that. With `lookback_sec` a frame that no label
    covers gets the next label if that one comes soon enough: "what we just passed was a pallet".
    The rules, in their order:

    1. Of labels with the same time, the one added last counts.
    2. A label covers the times from its own, inclusive, until the next label or its own time plus
       `hold_sec`, whichever comes first, exclusive. An empty label ends the one before it and
       covers nothing.
    3. A time that is covered has the label that covers it, whatever comes next.
    4. Any other time, before the first label, after an empty one or after one that held no longer,
       has the first label after it that is not empty, if that one comes at most `lookback_sec`
       later, inclusive. Empty labels in between do not matter.

    A label reaches back only for those who ask after it was added. Safe for use from several
    threads. Of more than 4096 labels, those are forgotten that `keep_from` does not ask for, and
    of more than 131072 the oldest. No label is known before the oldest that is left.
    """

    def __init__(self, hold_sec: float = 0.0, lookback_sec: float = 0.0) -> None:
        """Make a track without labels.

        Args:
            hold_sec: How long a label holds at most, in s; 0 for without limit.
            lookback_sec: How far a label reaches back, in s; 0 for not at all.

        Raises:
            SettingError: One of them is negative or not finite.
        """
        self._hold_ns = seconds_as_ns("hold_sec", hold_sec)
        self._lookback_ns = seconds_as_ns("lookback_sec", lookback_sec)
        self._lock = threading.Lock()
        self._times: list[int] = []
        self._labels: list[str] = []
        self._needed_ns = sys.maxsize
        self._has_forgotten = False

    def add(self, label: str, published_ns: int) -> None:
        """Let a label hold from a time on, also where later labels are known already.

        Args:
            label: Text from the network or a bag; "" ends the label before it.
            published_ns: When it was published, in ns.

        Raises:
            LabelError: The text is unfit to be a label; the label before it goes on.
        """
        cleaned = clean_label(label)
        with self._lock:
            index = bisect.bisect_right(self._times, published_ns)
            if index and self._times[index - 1] == published_ns:
                self._labels[index - 1] = cleaned
                return
            self._times.insert(index, published_ns)
            self._labels.insert(index, cleaned)
            if len(self._times) > MAX_HISTORY:
                self._forget()

    def keep_from(self, published_ns: int) -> None:
        """Say from which time in ns on labels will still be asked for."""
        with self._lock:
            self._needed_ns = published_ns

    def at(self, published_ns: int) -> str:
        """Return the label of a time in ns, "" for none."""
        with self._lock:
            following = bisect.bisect_right(self._times, published_ns)
            if following:
                label = self._labels[following - 1]
                age_ns = published_ns - self._times[following - 1]
                if label and (not self._hold_ns or age_ns < self._hold_ns):
                    return label
            elif self._has_forgotten:
                return ""
            return self._looked_back(following, published_ns + self._lookback_ns)

    def _forget(self) -> None:
        in_force = bisect.bisect_right(self._times, self._needed_ns) - 1
        surplus = len(self._times) - MAX_HISTORY
        count = max(min(in_force, surplus), len(self._times) - MAX_LABELS)
        if count > 0:
            self._has_forgotten = True
            del self._times[:count]
            del self._labels[:count]

    def _looked_back(self, index: int, until_ns: int) -> str:
        """Return the first label from an index on and until a time that is not empty, or ""."""
        while index < len(self._times) and self._times[index] <= until_ns:
            if self._labels[index]:
                return self._labels[index]
            index += 1
        return ""


def seconds_as_ns(name: str, value_sec: float) -> int:
    """Return a duration in whole ns; what is more than 0 stays at least 1.

    Args:
        name: What to call it in the error.
        value_sec: The duration in s.

    Raises:
        SettingError: It is negative or not finite.
    """
    if not math.isfinite(value_sec) or value_sec < 0:
        raise SettingError(f"{name} is {value_sec!r}; expected 0.0 or more s")
    value_ns = round(Fraction(value_sec) * _NS_PER_SEC)
    return max(value_ns, 1) if value_sec > 0 else 0
