"""Published labels on a time line."""

from __future__ import annotations

import bisect
import sys
import threading

from fl_robot_ros.labels.label_text import clean_label

# Labels kept in any case, and labels kept at most for waiting frames: 20 minutes of a node that
# repeats its label 100 times a second.
MAX_HISTORY = 4096
MAX_LABELS = 1 << 17

_NS_PER_SEC = 1_000_000_000


class LabelTrack:
    """Labels on a time line: each holds from its publication until the next one.

    `hold_sec` limits how long a label holds. With `lookback_sec`, a frame without a label gets the
    next label if it comes soon enough: "what we just passed was a pallet". The rules, in order:

    1. Of labels with the same time, the last one added counts.
    2. A label covers the times from its own, inclusive, until the next label or its own time plus
       `hold_sec`, whichever comes first, exclusive. An empty label ends the one before it and
       covers nothing.
    3. A covered time has the label that covers it.
    4. Any other time has the next label that is not empty, if it comes at most `lookback_sec`
       later, inclusive.

    A label reaches back only for calls of `at` after it was added. Safe for use from several
    threads. Beyond 4096 labels, those that `keep_from` does not ask for are forgotten, and beyond
    131072 the oldest; before the oldest label that is left, there is none.
    """

    def __init__(self, hold_sec: float = 0.0, lookback_sec: float = 0.0) -> None:
        """Make a track without labels.

        Args:
            hold_sec: How long a label holds at most, in s; 0: until the next one.
            lookback_sec: How far a label reaches back, in s; 0: not at all.
        """
        self._hold_ns = _as_ns(hold_sec)
        self._lookback_ns = _as_ns(lookback_sec)
        self._lock = threading.Lock()
        self._times: list[int] = []
        self._labels: list[str] = []
        self._needed_ns = sys.maxsize
        self._has_forgotten = False

    def add(self, label: str, published_ns: int) -> None:
        """Add a label, also one that is older than others.

        Args:
            label: Text from the network or a bag; "" ends the label before it.
            published_ns: When it was published, in ns.

        Raises:
            LabelError: The text is no valid label; the label before it stays in force.
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
        """Keep the labels from this time in ns on."""
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
        """Return the first label from an index on that is not empty and not too late, or ""."""
        while index < len(self._times) and self._times[index] <= until_ns:
            if self._labels[index]:
                return self._labels[index]
            index += 1
        return ""


def _as_ns(value_sec: float) -> int:
    """Return a duration in ns, at least 1 if it is above 0, which means something else."""
    return max(round(value_sec * _NS_PER_SEC), int(value_sec > 0))
