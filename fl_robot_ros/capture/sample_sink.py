"""The last step of every frame: into the dataset, or not."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Sequence

from fl_robot_ros.capture.duplicates import DuplicateFilter
from fl_robot_ros.capture.frame_processor import ProcessedFrame
from fl_robot_ros.capture.new_sample import KEPT, DatasetWriter
from fl_robot_ros.capture.verdicts import VerdictCounter
from fl_robot_ros.errors import DatasetError

# How often a full disk is looked at again.
_LOOK_AGAIN_SEC = 1.0
# A disk at its limit takes one batch and refuses the next; that is one failure, told once.
_ONE_FAILURE_SEC = 10.0
# How often the counts are stored.
_SAVE_COUNTS_SEC = 10.0

_logger = logging.getLogger(__name__)


class SampleSink:
    """Labels, filters and stores processed frames. Safe for use from several threads.

    Attributes:
        keeps_unlabelled: Whether frames without a label are stored for review.
    """

    def __init__(
        self,
        dataset: DatasetWriter,
        verdicts: VerdictCounter,
        *,
        min_difference_bits: int = 0,
        keeps_unlabelled: bool = False,
        disk_reserve_bytes: int = 0,
    ) -> None:
        """Prepare.

        Args:
            dataset: Where samples go.
            verdicts: Where every frame is counted.
            min_difference_bits: See `DuplicateFilter`.
            keeps_unlabelled: Whether frames without a label are stored for review.
            disk_reserve_bytes: Room that stays free on the disk.
        """
        self.keeps_unlabelled = keeps_unlabelled
        self._dataset = dataset
        self._verdicts = verdicts
        self._disk_reserve_bytes = disk_reserve_bytes
        # Guards the counts that are stored.
        self._saving = threading.Lock()
        self._saved_counts: Counter[str] = Counter()
        self._saved_at = time.monotonic()
        self._failed_at = float("-inf")
        # Guards everything below.
        self._lock = threading.Lock()
        self._duplicates = DuplicateFilter(min_difference_bits)
        self._is_disk_full = False
        self._looked_at = float("-inf")

    def is_disk_full(self) -> bool:
        """Say whether there is no room to store anything; looks at the disk now and then."""
        with self._lock:
            if time.monotonic() - self._looked_at >= _LOOK_AGAIN_SEC:
                self._look_at_disk()
            return self._is_disk_full

    def store(self, frames: Sequence[tuple[ProcessedFrame, str]]) -> None:
        """Give frames their labels and store them; each ends in a counted verdict."""
        chosen = [(frame, label) for frame, label in frames if self._is_chosen(frame, label)]
        batch = [frame.sample._replace(label=label) for frame, label in chosen if frame.sample]
        if not batch:
            return
        with self._lock:
            self._look_at_disk()
            is_full = self._is_disk_full
        if is_full:
            self._verdicts.add("disk_full", len(batch))
            self._forget(chosen)
            return
        try:
            outcomes = self._dataset.add(batch)
        except (DatasetError, OSError) as error:
            self._verdicts.add_error("disk_error", str(error), "", len(batch))
            self._failed_at = time.monotonic()
            self._forget(chosen)
            return
        if time.monotonic() - self._failed_at > _ONE_FAILURE_SEC:
            self._verdicts.forget("disk_error", "")
        for sample, outcome in zip(batch, outcomes, strict=True):
            is_for_review = outcome == KEPT and not sample.label
            self._verdicts.add("review" if is_for_review else outcome)

    def save_counts(self, is_last: bool = False) -> None:
        """Store how many frames ended in each verdict, if it is time to."""
        # Not the other lock: nobody must wait for a disk to ask whether it is full.
        with self._saving:
            now = time.monotonic()
            if not is_last and now - self._saved_at < _SAVE_COUNTS_SEC:
                return
            self._saved_at = now
            counts = self._verdicts.counts
            try:
                if counts != self._saved_counts:
                    self._dataset.add_verdicts(counts - self._saved_counts)
                    self._saved_counts = counts
            except DatasetError as error:
                _logger.debug("counts are stored later: %s", error)

    def _is_chosen(self, frame: ProcessedFrame, label: str) -> bool:
        """Say whether to store a frame; if not, count why."""
        if frame.sample is None:
            if frame.reason:
                topic = frame.reason.partition(":")[0]
                self._verdicts.add_error(frame.verdict, frame.reason, topic)
            else:
                self._verdicts.add(frame.verdict)
            return False
        if not label and not self.keeps_unlabelled:
            self._verdicts.add("unlabelled")
            return False
        with self._lock:
            topic = frame.sample.topic
            is_duplicate = self._duplicates.is_duplicate(topic, label, frame.fingerprint)
        if is_duplicate:
            self._verdicts.add("duplicate")
        return not is_duplicate

    def _forget(self, frames: Sequence[tuple[ProcessedFrame, str]]) -> None:
        """Let frames that were not stored be no reason to take others for duplicates."""
        with self._lock:
            for frame, label in frames:
                if frame.sample is not None:
                    self._duplicates.forget(frame.sample.topic, label, frame.fingerprint)

    def _look_at_disk(self) -> None:
        """Find out whether there is room, and say so when that changed; the lock is held."""
        self._looked_at = time.monotonic()
        try:
            free_bytes = self._dataset.free_bytes()
        except DatasetError as error:
            self._verdicts.add_error("disk_error", str(error), "", 0)
            return
        was_full, self._is_disk_full = self._is_disk_full, free_bytes < self._disk_reserve_bytes
        if self._is_disk_full and not was_full:
            _logger.error(
                "capture pauses: the disk has %.0f MB left and %.0f MB are to stay free",
                free_bytes / 1e6,
                self._disk_reserve_bytes / 1e6,
            )
        elif was_full and not self._is_disk_full:
            _logger.warning("capture goes on: the disk has %.0f MB free", free_bytes / 1e6)
