"""From frames and labels, live or from a bag, to stored samples."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fl_robot_ros.capture.camera_settings import topic_labels
from fl_robot_ros.capture.capture_time import CaptureTime
from fl_robot_ros.capture.frame_processor import FrameProcessor
from fl_robot_ros.capture.new_sample import DatasetWriter
from fl_robot_ros.capture.privacy_mask import OtherNames
from fl_robot_ros.capture.sample_sink import SampleSink
from fl_robot_ros.capture.sampler import RateSampler
from fl_robot_ros.capture.settling_queue import MAX_WAITING_BYTES, SettlingQueue, WaitingFrame
from fl_robot_ros.capture.verdicts import FirstTime, Verdict, VerdictCounter
from fl_robot_ros.config import ClientSettings
from fl_robot_ros.errors import LabelError
from fl_robot_ros.images.frame import Frame
from fl_robot_ros.labels.label_text import MAX_LABEL_CHARACTERS
from fl_robot_ros.labels.labeller import Labeller, LabelRules

if TYPE_CHECKING:
    from fl_robot_ros.bags.bag import BagReport

# Samples stored with one transaction: little is at stake at any time.
_BATCH = 16
# How often the thread that stores looks at the clock, which may be set meanwhile.
_POLL_SEC = 0.05
_IDLE_POLL_SEC = 1.0
# A message so much older than the newest of its topic means that the clock was set back; a message
# that DDS lost and sends again is not so late.
_CLOCK_STEP_NS = 10_000_000_000

_logger = logging.getLogger(__name__)


class CapturePipeline:
    """Samples, masks, measures, encodes, labels, filters and stores frames.

    Live frames and bags share the threads that encode, and may come at once. Every frame ends in
    exactly one counted verdict; an invalid label counts as BAD_LABEL, and the label before it goes
    on. A live frame is encoded at once and waits, small as it is then, for labels that were
    published before it, or that look back at it; one thread stores the live frames.

    Attributes:
        is_enabled: Whether live frames are taken; may be set. Frames that wait already are stored,
            and bags go on.
    """

    def __init__(
        self,
        dataset: DatasetWriter,
        settings: ClientSettings,
        other_names: OtherNames | None = None,
        *,
        processor: FrameProcessor | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Start the threads.

        Args:
            dataset: Where samples go.
            settings: How frames are captured.
            other_names: Other names of topics, as before a remapping: masks and
                fixed labels of these are the topic's too.
            processor: Turns frames into samples; None: as the settings say.
            clock: Returns the time in ns since the epoch, as `published_ns` of live frames.

        Raises:
            SettingError: A fixed label or a mask is invalid.
        """
        self._settings = settings
        self._rules = LabelRules(
            settings.label_hold_sec,
            settings.label_lookback_sec,
            topic_labels(settings, other_names),
        )
        self._processor = processor or FrameProcessor(settings, other_names)
        self._verdicts = VerdictCounter()
        self._sink = SampleSink(dataset, self._verdicts, settings)
        threads = settings.encoder_threads or len(os.sched_getaffinity(0))
        self._encoders = ThreadPoolExecutor(threads, thread_name_prefix="encoder")
        self._wait_ns = round((settings.label_settle_sec + settings.label_lookback_sec) * 1e9)
        self._clock = clock
        self._queue = SettlingQueue(Labeller(self._rules), _CLOCK_STEP_NS, MAX_WAITING_BYTES)
        # The queue's lock guards everything below.
        self._sampler = RateSampler(settings.sample_rate_hz)
        self._capture_time = CaptureTime()
        self._arrived_ns = 0
        self._first_time = FirstTime()
        self.is_enabled = settings.capture_enabled
        self._is_stopping = False
        self._thread = threading.Thread(target=self._store_live, name="capture", daemon=True)
        self._thread.start()

    @property
    def verdicts(self) -> Counter[str]:
        """Number of frames (and labels, for BAD_LABEL) by verdict, since the beginning."""
        return self._verdicts.counts

    @property
    def queue_length(self) -> int:
        """Live frames that wait to be encoded, for their label or to be stored."""
        return len(self._queue)

    @property
    def last_error(self) -> str:
        """The newest reason for a frame or a label that could not be used, "" for none."""
        return self._verdicts.last_error

    @property
    def is_disk_full(self) -> bool:
        """Whether capture pauses because the disk has no room left."""
        return self._sink.is_disk_full

    def offer_frame(self, frame: Frame) -> None:
        """Take a live frame; returns at once."""
        with self._queue.changed:
            now_ns = self._arrival_ns()
            captured_ns = self._capture_time.at(frame.topic, frame.stamp_ns, frame.published_ns)
            verdict = self._refusal(frame.topic, captured_ns, now_ns)
            if verdict is None:
                # A publisher's clock may be ahead of ours; then the time of arrival counts.
                item = self._queue.add(frame, captured_ns, min(frame.published_ns, now_ns))
                self._encoders.submit(self._queue.encode, [item], self._processor)
        if verdict is not None:
            self._verdicts.add(verdict)
        self._warn_of_other_clock(frame.topic, now_ns - frame.published_ns)

    def offer_label(self, text: str, published_ns: int) -> None:
        """Take a live label, which holds for frames published from then on."""
        try:
            with self._queue.changed:
                running_ns = self._queue.add_label(text, min(published_ns, self._arrival_ns()))
                age_ns = self._queue.newest_ns - running_ns
        except LabelError as error:
            self._verdicts.add_error(Verdict.BAD_LABEL, str(error), str(error))
        else:
            self._warn_of_stale_label(text, age_ns)

    def stop(self) -> None:
        """Store what waits, cut imports of bags short and end the threads.

        May be called twice.
        """
        with self._queue.changed:
            self._is_stopping = True
            self._queue.changed.notify_all()
        self._thread.join()
        self._encoders.shutdown()

    def import_bag(
        self,
        path: Path,
        image_topics: Collection[str] | None = None,
        progress: Callable[[int, int], None] | None = None,
        label_file: Path | None = None,
        *,
        allows_fallback: bool = True,
    ) -> BagReport:
        """Read a bag into the dataset with the labels in the bag; returns when that is done.

        Args:
            path: The bag.
            image_topics: Topics to read; None, or none of them in the bag: all image topics.
            progress: Is called now and then with the number of frames read and of those that the
                bag says it has, 0 where it does not say.
            label_file: Labels by time, which come before those in the bag; None: a file named
                labels.csv or labels.yaml that lies in the bag's folder, if there is one.
            allows_fallback: Whether all image topics are read where none of those is in the bag;
                else that is an error.

        Raises:
            BagError: The bag cannot be read at all, or promises images and yields none.
            LabelError: The label file is invalid.
        """
        # Imported late, so that a robot which never reads a bag does not load rosbags.
        from fl_robot_ros.capture.bag_import import BagImport
        from fl_robot_ros.capture.labelled_bag import LabelledBag

        bag = LabelledBag(
            path, image_topics, label_file, self._rules, allows_fallback=allows_fallback
        )
        sampler = RateSampler(self._settings.sample_rate_hz)
        bag_import = BagImport(bag, sampler, self._processor, self._encoders, self._sink)
        report = bag_import.run(progress, lambda: self._is_stopping)
        if report.label_file and report.frames_read and not report.is_label_file_used:
            _logger.warning(
                "label file %s has the time of no frame of %s; its times are compared with those "
                "of the frames' headers, or count from the beginning of the recording",
                report.label_file,
                path.name,
            )
        return report

    def _arrival_ns(self) -> int:
        """Return the time at which a message arrives."""
        now_ns = self._clock()
        if now_ns < self._arrived_ns:
            self._queue.set_clock_back()
        self._arrived_ns = now_ns
        return now_ns

    def _refusal(self, topic: str, captured_ns: int, now_ns: int) -> Verdict | None:
        """Return the verdict on a frame that is not even encoded, None for one that is."""
        if not self.is_enabled or self._is_stopping:
            return Verdict.PAUSED
        if not self._sampler.accept(topic, captured_ns):
            return Verdict.SAMPLED_OUT
        if self._sink.is_disk_full:
            return Verdict.DISK_FULL
        limit = self._settings.queue_size
        is_full = self._queue.backlog(partial(self._is_young, now_ns), limit) == limit
        return Verdict.QUEUE_FULL if is_full else None

    def _is_young(self, now_ns: int, item: WaitingFrame) -> bool:
        """Say whether a label for the frame may still come, and is waited for."""
        # A time in the future means that the clock was set back meanwhile.
        return not self._is_stopping and 0 <= now_ns - item.published_ns < self._wait_ns

    def _store_live(self) -> None:
        """Store frames when their labels are sure, and at the end all."""
        while True:
            self._sink.keep_up()
            with self._queue.changed:
                now_ns = self._clock()
                settled = self._queue.settled(partial(self._is_young, now_ns), _BATCH)
                if not settled:
                    if self._is_stopping and not len(self._queue):
                        break
                    self._queue.changed.wait(_POLL_SEC if len(self._queue) else _IDLE_POLL_SEC)
                    continue
            if self._is_young(now_ns, settled[-1]):
                self._warn_of_brief_wait(now_ns - settled[-1].published_ns)
            self._queue.store(settled, self._sink)
        self._sink.save_counts()

    def _warn_of_other_clock(self, topic: str, late_ns: int) -> None:
        """Say once for each topic that labels by time of publication cannot fit its frames."""
        if abs(late_ns) > _CLOCK_STEP_NS and self._first_time.of(topic):
            _logger.warning(
                "topic %s: a frame came %.0f s %s its publisher's clock says; labels count by the "
                "time of publication: let the computers synchronise their clocks",
                topic,
                abs(late_ns) / 1e9,
                "later than" if late_ns > 0 else "before",
            )

    def _warn_of_stale_label(self, text: str, age_ns: int) -> None:
        """Say once that a label holds no more when it comes.

        Args:
            text: The label.
            age_ns: How much older it is than the newest frame or label, in ns.
        """
        hold_sec = self._settings.label_hold_sec
        if hold_sec and age_ns > hold_sec * 1e9 and self._first_time.of("stale label"):
            _logger.warning(
                "label %r is %.0f s older than what came before it and holds for %g s: it came "
                "late, or its publisher has another clock",
                text[:MAX_LABEL_CHARACTERS],
                age_ns / 1e9,
                hold_sec,
            )

    def _warn_of_brief_wait(self, waited_ns: int) -> None:
        """Say once that frames do not wait for their label as long as they should."""
        if self._first_time.of("brief wait"):
            _logger.warning(
                "frames wait %.1f instead of %.1f s for their label, because %d MB of them wait: "
                "for all of label_lookback_sec, have fewer frames or smaller ones",
                waited_ns / 1e9,
                self._wait_ns / 1e9,
                MAX_WAITING_BYTES // 1_000_000,
            )
