"""From frames and labels to stored samples, live or from a bag, by one and the same path."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fl_robot_ros.capture.encode import encode_frame
from fl_robot_ros.capture.frame import CompressedFrame, Frame, RawFrame
from fl_robot_ros.capture.label_track import LabelTrack
from fl_robot_ros.capture.new_sample import DatasetWriter, NewSample
from fl_robot_ros.capture.sampler import RateSampler
from fl_robot_ros.errors import DatasetError, FrameError, LabelError

if TYPE_CHECKING:
    from fl_robot_ros.capture.bag import BagReport

_LOGGER = logging.getLogger(__name__)

# Samples stored with one transaction: live, little is at stake at any time; a bag is there again.
_LIVE_BATCH = 16
_BAG_BATCH = 64
_NS_PER_SEC = 1_000_000_000
# Bags are read in the order of time, but for damaged ones, nearly.
_BAG_SETTLE_NS = _NS_PER_SEC // 5
# How often a waiting worker looks at the clock, which may be set meanwhile.
_POLL_SEC = 0.05
# Subjects that are logged, each once; a hostile publisher must not fill the log.
_MAX_REPORTED = 100

VERDICTS = (
    "kept",
    "sampled_out",
    "unlabelled",
    "bad_encoding",
    "bad_label",
    "queue_full",
    "already_stored",
    "paused",
    "disk_error",
)


@dataclass(frozen=True)
class _HeldSample:
    """An encoded live frame whose label is not sure yet."""

    since_ns: int
    published_ns: int
    sample: NewSample


class CapturePipeline:
    """Samples, labels, encodes and stores frames.

    Live frames go through a bounded queue to a worker thread, which encodes them and then holds
    them, small as they are now, until their label is sure to be known; bags go through the
    caller's thread. Both may run at once. Every frame ends in exactly one counted verdict
    (`VERDICTS`); a label that is unfit counts as "bad_label", and the label before it goes on.
    """

    def __init__(
        self,
        dataset: DatasetWriter,
        *,
        sample_rate_hz: float,
        jpeg_quality: int,
        queue_size: int,
        label_settle_sec: float,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Make a pipeline; `start` begins the work.

        Args:
            dataset: Where samples go.
            sample_rate_hz: Frames to keep per second and topic, by capture time, above 0.
            jpeg_quality: Quality of JPEG files made here, 1 to 100.
            queue_size: Live frames that may wait to be encoded; more are dropped and counted.
            label_settle_sec: How long an encoded frame waits, from its publication, for labels
                published before it, in s. A label that the network lost comes with DDS' next
                heartbeat, after up to 3 s.
            clock: Returns the time in ns since the epoch, as `published_ns` of live frames.

        Raises:
            SettingError: The sample rate is not above 0.
        """
        self._dataset = dataset
        self._sample_rate_hz = sample_rate_hz
        self._jpeg_quality = jpeg_quality
        self._queue_size = queue_size
        self._settle_ns = round(label_settle_sec * _NS_PER_SEC)
        self._clock = clock
        self._sampler = RateSampler(sample_rate_hz)
        self._labels = LabelTrack()
        # Guards everything below.
        self._changed = threading.Condition()
        self._queue: deque[tuple[int, Frame]] = deque()
        self._held: deque[_HeldSample] = deque()
        self._is_encoding = False
        self._verdicts: Counter[str] = Counter()
        self._is_enabled = True
        self._is_stopping = False
        self._last_error = ""
        self._reported: set[tuple[str, str]] = set()
        self._worker: threading.Thread | None = None

    @property
    def verdicts(self) -> Counter[str]:
        """Number of frames (and labels, for "bad_label") by verdict, since the beginning."""
        with self._changed:
            return +self._verdicts

    @property
    def queue_length(self) -> int:
        """Live frames that wait to be encoded or for their label."""
        with self._changed:
            return len(self._queue) + len(self._held) + self._is_encoding

    @property
    def last_error(self) -> str:
        """The newest reason for a "disk_error", "bad_encoding" or "bad_label", "" for none."""
        with self._changed:
            return self._last_error

    def set_enabled(self, enabled: bool) -> None:
        """Pause or resume live capture; frames that wait already are stored, bags go on."""
        with self._changed:
            self._is_enabled = enabled

    def start(self) -> None:
        """Start the worker thread, unless it runs."""
        with self._changed:
            if self._worker is not None:
                return
            self._is_stopping = False
            self._worker = threading.Thread(target=self._work, name="capture", daemon=True)
            self._worker.start()

    def stop(self) -> None:
        """Store what waits, end the worker thread and cut imports of bags short."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
            worker, self._worker = self._worker, None
        if worker is not None:
            worker.join()

    def offer_frame(self, frame: Frame) -> None:
        """Take a live frame; returns at once."""
        now_ns = self._clock()
        with self._changed:
            if not self._is_enabled:
                self._verdicts["paused"] += 1
            elif not self._sampler.accept(frame.topic, frame.stamp_ns):
                self._verdicts["sampled_out"] += 1
            elif len(self._queue) >= self._queue_size:
                self._verdicts["queue_full"] += 1
            else:
                # A publisher's clock may be ahead of ours; then the time of arrival counts.
                self._queue.append((min(frame.published_ns, now_ns), frame))
                self._changed.notify_all()

    def offer_label(self, text: str, published_ns: int) -> None:
        """Take a live label, which holds for frames published from then on."""
        self._add_label(self._labels, text, published_ns)

    def import_bag(
        self,
        path: Path,
        image_topics: Collection[str] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> BagReport:
        """Read a bag into the dataset, in this thread, with the labels in the bag.

        Args:
            path: The bag.
            image_topics: Topics to read; None, or none of them in the bag: all image topics.
            progress: Is called now and then with the number of frames read.

        Raises:
            BagError: The bag cannot be read at all, or promises images and yields none.
        """
        # Imported late, so that a robot which never reads a bag does not load rosbags.
        from fl_robot_ros.capture.bag import read_bag

        reading = read_bag(path, image_topics)
        sampler = RateSampler(self._sample_rate_hz)
        labels = LabelTrack()
        waiting: deque[Frame] = deque()
        batch: list[NewSample] = []
        newest_ns = 0
        try:
            for item in reading:
                if isinstance(item, (RawFrame, CompressedFrame)):
                    if not sampler.accept(item.topic, item.stamp_ns):
                        self._count("sampled_out")
                        continue
                    waiting.append(item)
                else:
                    self._add_label(labels, item.label, item.published_ns)
                newest_ns = max(newest_ns, item.published_ns)
                while waiting and waiting[0].published_ns + _BAG_SETTLE_NS <= newest_ns:
                    batch += self._prepared(waiting.popleft(), labels)
                if len(batch) >= _BAG_BATCH:
                    self._store(batch)
                    batch.clear()
                    if progress is not None:
                        progress(reading.report.frames_read)
                    if self._is_stopping:
                        reading.report.add_loss("the import was stopped")
                        break
        finally:
            # What was read from a bag that turns out to be damaged is kept.
            reading.close()
            for frame in waiting:
                batch += self._prepared(frame, labels)
            self._store(batch)
        if progress is not None:
            progress(reading.report.frames_read)
        return reading.report

    def _work(self) -> None:
        while True:
            with self._changed:
                settled = self._take_settled()
                waiting = self._queue.popleft() if self._queue else None
                if not settled and waiting is None:
                    if self._is_stopping:
                        return
                    self._changed.wait(_POLL_SEC if self._held else None)
                    continue
                self._is_encoding = waiting is not None
            batch: list[NewSample] = []
            for held in settled:
                batch += self._labelled(held.sample, self._labels.at(held.published_ns))
            self._store(batch)
            if waiting is not None:
                since_ns, frame = waiting
                sample = self._encoded(frame, "")
                with self._changed:
                    self._is_encoding = False
                    if sample is not None:
                        self._held.append(_HeldSample(since_ns, frame.published_ns, sample))

    def _take_settled(self) -> list[_HeldSample]:
        """Take the samples whose labels are known by now, at the end all; the lock is held."""
        now_ns = self._clock()
        settled: list[_HeldSample] = []
        while self._held and len(settled) < _LIVE_BATCH:
            # A time in the future means that the clock was set back meanwhile.
            age_ns = now_ns - self._held[0].since_ns
            if not self._is_stopping and 0 <= age_ns < self._settle_ns:
                break
            settled.append(self._held.popleft())
        return settled

    def _prepared(self, frame: Frame, labels: LabelTrack) -> list[NewSample]:
        """Return the frame's sample, or nothing but a counted verdict."""
        label = labels.at(frame.published_ns)
        if not label:
            self._count("unlabelled")
            return []
        sample = self._encoded(frame, label)
        return [] if sample is None else [sample]

    def _labelled(self, sample: NewSample, label: str) -> list[NewSample]:
        """Return the sample with its label, or nothing but a counted verdict."""
        if not label:
            self._count("unlabelled")
            return []
        return [replace(sample, label=label)]

    def _encoded(self, frame: Frame, label: str) -> NewSample | None:
        """Return the frame's sample, or nothing but a counted verdict."""
        try:
            return encode_frame(frame, label, self._jpeg_quality)
        except FrameError as error:
            self._fail("bad_encoding", 1, f"topic {frame.topic}: {error}", frame.topic)
        except Exception as error:
            # A frame that nobody thought of must not end the capture.
            self._fail("bad_encoding", 1, f"topic {frame.topic}: {error!r}", frame.topic)
        return None

    def _store(self, batch: Sequence[NewSample]) -> None:
        if not batch:
            return
        try:
            stored = self._dataset.add(batch)
        except (DatasetError, OSError) as error:
            self._fail("disk_error", len(batch), str(error), "")
            return
        with self._changed:
            self._reported.discard(("disk_error", ""))
            self._verdicts["kept"] += sum(stored)
            self._verdicts["already_stored"] += len(stored) - sum(stored)

    def _add_label(self, labels: LabelTrack, text: str, published_ns: int) -> None:
        try:
            labels.add(text, published_ns)
        except LabelError as error:
            self._fail("bad_label", 1, str(error), str(error))

    def _count(self, verdict: str) -> None:
        with self._changed:
            self._verdicts[verdict] += 1

    def _fail(self, verdict: str, count: int, reason: str, subject: str) -> None:
        """Count a verdict, and log its reason the first time that it strikes a subject."""
        with self._changed:
            self._verdicts[verdict] += count
            self._last_error = reason
            key = (verdict, subject)
            is_new = key not in self._reported and len(self._reported) < _MAX_REPORTED
            if is_new:
                self._reported.add(key)
        if is_new:
            _LOGGER.warning("%s: %s", verdict, reason)
