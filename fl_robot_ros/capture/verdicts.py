"""What became of every frame, counted."""

from __future__ import annotations

import logging
import threading
from collections import Counter, defaultdict

VERDICTS = {
    "kept": "stored with its label",
    "review": "stored without a label, for somebody to label it",
    "sampled_out": "more frames than the sampling rate asks for",
    "duplicate": "looks like a recent frame of its class",
    "blurred": "not sharp enough",
    "dark": "too dark",
    "bright": "too bright",
    "unlabelled": "no label, and no review pool to go to",
    "over_quota": "the budget is used up and other frames are worth more",
    "bad_encoding": "no image that can be read",
    "bad_label": "a label (not a frame) that is unfit",
    "queue_full": "frames came faster than they can be encoded",
    "labelled": "known already, without the label that it has now",
    "already_stored": "known already, as from a bag that was read before",
    "paused": "capture was paused",
    "disk_full": "the disk has no room left",
    "disk_error": "the dataset could not be written",
}

# Subjects of a verdict that are logged, each once; a hostile publisher must not fill the log.
_MAX_REPORTED = 100

_logger = logging.getLogger(__name__)


class VerdictCounter:
    """Counts verdicts. Safe for use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._last_error = ""
        self._reported: defaultdict[str, set[str]] = defaultdict(set)

    @property
    def counts(self) -> Counter[str]:
        """Number of frames by verdict (a key of `VERDICTS`), without those that are 0."""
        with self._lock:
            return +self._counts

    @property
    def last_error(self) -> str:
        """The newest reason given, "" for none."""
        with self._lock:
            return self._last_error

    def add(self, verdict: str, count: int = 1) -> None:
        """Count frames with a verdict."""
        with self._lock:
            self._counts[verdict] += count

    def add_error(self, verdict: str, reason: str, subject: str, count: int = 1) -> None:
        """Count frames, and log the reason the first time that the verdict strikes a subject."""
        with self._lock:
            self._counts[verdict] += count
            self._last_error = reason
            reported = self._reported[verdict]
            is_new = subject not in reported and len(reported) < _MAX_REPORTED
            if is_new:
                reported.add(subject)
        if is_new:
            _logger.warning("%s: %s", verdict, reason)

    def forget(self, verdict: str, subject: str) -> None:
        """Log this verdict again when it strikes the subject the next time."""
        with self._lock:
            self._reported[verdict].discard(subject)
