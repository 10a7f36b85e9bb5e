"""The last step of every frame: into the dataset, or not."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Sequence

from fl_robot_ros.capture.duplicates import DuplicateFilter
from fl_robot_ros.capture.frame_processor import ProcessedFrame
from fl_robot_ros.capture.new_sample import DatasetWriter
from fl_robot_ros.capture.verdicts import Verdict, VerdictCounter
from fl_robot_ros.config import ClientSettings
from fl_robot_ros.errors import DatasetError

# How often the thread that stores looks at the disk while it has nothing to store.
_LOOK_AGAIN_SEC = 1.0
# A disk at its limit takes one batch and refuses the next; that is one failure, told once.
_ONE_FAILURE_SEC = 10.0
# How often the counts are stored.
_SAVE_COUNTS_SEC = 10.0

_logger = logging.getLogger(__name__)


class SampleSink:
    """Filters and stores processed frames with their labels. Safe for use from several threads.

    Attributes:
        verdicts: Where every frame is counted.
        is_disk_full: Whether the disk had no room when a thread that stores last looked.
    """

    def __init__(
        self, dataset: DatasetWriter, verdicts: VerdictCounter, settings: ClientSettings
    ) -> None:
        """Prepare.

        Args:
            dataset: Where samples go.
            verdicts: Where every frame is counted.
            settings: What is kept, and the room that stays free on the disk.
        """
        self.verdicts = verdicts
        self.is_disk_full = False
        self._dataset = dataset
        self._keeps_unlabelled = settings.review_pool_size > 0
        self._disk_reserve_bytes = settings.disk_reserve_mb * 1_000_000
        # Guards the counts that are stored.
        self._saving = threading.Lock()
        self._saved_counts: Counter[str] = Counter()
        self._saved_at = time.monotonic()
        self._failed_at = float("-inf")
        # Guards everything below.
        self._lock = threading.Lock()
        self._duplicates = DuplicateFilter(settings.min_difference_bits)
        self._looked_at = float("-inf")

    def store(self, frames: Sequence[tuple[ProcessedFrame, str]]) -> None:
        """Store frames with their labels; each ends in a counted verdict."""
        chosen = [(frame, label) for frame, label in frames if self._is_chosen(frame, label)]
        batch = [frame.sample._replace(label=label) for frame, label in chosen if frame.sample]
        if not batch:
            return
        self._look_at_disk()
        if self.is_disk_full:
            self.verdicts.add(Verdict.DISK_FULL, len(batch))
            self._forget(chosen)
            return
        try:
            outcomes = self._dataset.add(batch)
        except (DatasetError, OSError) as error:
            self.verdicts.add_error(Verdict.DISK_ERROR, str(error), "", len(batch))
            self._failed_at = time.monotonic()
            self._forget(chosen)
            return
        if time.monotonic() - self._failed_at > _ONE_FAILURE_SEC:
            self.verdicts.forget(Verdict.DISK_ERROR, "")
        for sample, outcome in zip(batch, outcomes, strict=True):
            is_for_review = outcome == Verdict.KEPT and not sample.label
            self.verdicts.add(Verdict.REVIEW if is_for_review else outcome)

    def keep_up(self) -> None:
        """Look at the disk and store the counts, if it is time to; for a thread that may wait."""
        if time.monotonic() - self._looked_at >= _LOOK_AGAIN_SEC:
            self._look_at_disk()
        if time.monotonic() - self._saved_at >= _SAVE_COUNTS_SEC:
            self.save_counts()

    def save_counts(self) -> None:
        """Store how many frames ended in each verdict."""
        with self._saving:
            self._saved_at = time.monotonic()
            counts = self.verdicts.counts
            try:
                if counts != self._saved_counts:
                    self._dataset.add_verdicts(counts - self._saved_counts)
                    self._saved_counts = counts
            except DatasetError as error:
                _logger.debug("counts are stored later: %s", error)

    def _is_chosen(self, frame: ProcessedFrame, label: str) -> bool:
        """Say whether to store a frame; if not, count why."""
        if frame.sample is None:
            verdict = frame.verdict or Verdict.BAD_ENCODING
            if frame.reason:
                topic = frame.reason.partition(":")[0]
                self.verdicts.add_error(verdict, frame.reason, topic)
            else:
                self.verdicts.add(verdict)
            return False
        if not label and not self._keeps_unlabelled:
            self.verdicts.add(Verdict.UNLABELLED)
            return False
        with self._lock:
            topic = frame.sample.topic
            is_duplicate = self._duplicates.is_duplicate(topic, label, frame.fingerprint)
        if is_duplicate:
            self.verdicts.add(Verdict.DUPLICATE)
        return not is_duplicate

    def _forget(self, frames: Sequence[tuple[ProcessedFrame, str]]) -> None:
        """Let frames that were not stored make no duplicates of others."""
        with self._lock:
            for frame, label in frames:
                if frame.sample is not None:
                    self._duplicates.forget(frame.sample.topic, label, frame.fingerprint)

    def _look_at_disk(self) -> None:
        """Find out whether there is room, and log when that changed."""
        with self._lock:
            self._looked_at = time.monotonic()
            try:
                free_bytes = self._dataset.free_bytes()
            except DatasetError as error:
                self.verdicts.add_error(Verdict.DISK_ERROR, str(error), "", 0)
                return
            was_full, self.is_disk_full = self.is_disk_full, free_bytes < self._disk_reserve_bytes
        if self.is_disk_full and not was_full:
            _logger.error(
                "capture pauses: the disk has %.0f MB left and %.0f MB are to stay free",
                free_bytes / 1e6,
                self._disk_reserve_bytes / 1e6,
            )
        elif was_full and not self.is_disk_full:
            _logger.warning("capture goes on: the disk has %.0f MB free", free_bytes / 1e6)
