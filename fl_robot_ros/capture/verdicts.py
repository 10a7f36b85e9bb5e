"""What became of every frame, counted."""

from __future__ import annotations

import logging
import threading
from collections import Counter, defaultdict
from enum import Enum

# Subjects that are reported, each once; a hostile publisher must not fill the log.
_MAX_REPORTED = 100

_logger = logging.getLogger(__name__)


class Verdict(str, Enum):
    """What became of a frame or, for BAD_LABEL, of a label.

    Attributes:
        meaning: The verdict in words, for people.
    """

    meaning: str

    KEPT = "kept", "stored with its label"
    REVIEW = "review", "stored without a label, for somebody to label it"
    SAMPLED_OUT = "sampled_out", "more frames than the sampling rate asks for"
    DUPLICATE = "duplicate", "looks like a recent frame of its class"
    BLURRED = "blurred", "not sharp enough"
    DARK = "dark", "too dark"
    BRIGHT = "bright", "too bright"
    UNLABELLED = "unlabelled", "no label, and no review pool to go to"
    OVER_QUOTA = "over_quota", "the budget is used up and other frames are worth more"
    BAD_ENCODING = "bad_encoding", "no readable image"
    BAD_LABEL = "bad_label", "an invalid label (not a frame)"
    QUEUE_FULL = "queue_full", "frames came faster than they can be encoded"
    LABELLED = "labelled", "known already, without the label that it has now"
    ALREADY_STORED = "already_stored", "known already, as from a bag that was read before"
    PAUSED = "paused", "capture was paused"
    DISK_FULL = "disk_full", "the disk has no room left"
    DISK_ERROR = "disk_error", "the dataset could not be written"

    def __new__(cls, value: str, meaning: str) -> Verdict:
        """Make a member that equals its name in messages and on the disk."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    def __str__(self) -> str:
        """Return the name in messages and on the disk."""
        return str.__str__(self)


class FirstTime:
    """Tells which subjects are new, so that each is logged once."""

    def __init__(self) -> None:
        self._subjects: set[str] = set()

    def of(self, subject: str) -> bool:
        """Say whether a subject is new, and remember it; after 100 subjects none is new."""
        if subject in self._subjects or len(self._subjects) >= _MAX_REPORTED:
            return False
        self._subjects.add(subject)
        return True

    def forget(self, subject: str) -> None:
        """Take a subject for new again."""
        self._subjects.discard(subject)


class VerdictCounter:
    """Counts verdicts. Safe for use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._last_error = ""
        self._first_time: defaultdict[Verdict, FirstTime] = defaultdict(FirstTime)

    @property
    def counts(self) -> Counter[str]:
        """Number of frames by verdict, without those that are 0."""
        with self._lock:
            return +self._counts

    @property
    def last_error(self) -> str:
        """The newest reason given, "" for none."""
        with self._lock:
            return self._last_error

    def add(self, verdict: Verdict, count: int = 1) -> None:
        """Count frames with a verdict."""
        with self._lock:
            self._counts[verdict] += count

    def add_error(self, verdict: Verdict, reason: str, subject: str, count: int = 1) -> None:
        """Count frames, and log the reason once per verdict and subject."""
        with self._lock:
            self._counts[verdict] += count
            self._last_error = reason
            is_new = self._first_time[verdict].of(subject)
        if is_new:
            _logger.warning("%s: %s", verdict, reason)

    def forget(self, verdict: Verdict, subject: str) -> None:
        """Log the verdict again the next time that it meets the subject."""
        with self._lock:
            self._first_time[verdict].forget(subject)
