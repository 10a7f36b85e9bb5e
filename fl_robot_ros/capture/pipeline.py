"""From frames and labels to stored samples, live or from a bag, by one and the same path."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from fl_robot_ros.capture.frame_processor import FrameProcessor
from fl_robot_ros.capture.live_capture import LiveCapture
from fl_robot_ros.capture.malloc import return_memory, reuse_memory
from fl_robot_ros.capture.new_sample import DatasetWriter
from fl_robot_ros.capture.sample_sink import SampleSink
from fl_robot_ros.capture.verdicts import VerdictCounter
from fl_robot_ros.images.frame import Frame
from fl_robot_ros.labels.labeller import LabelRules

if TYPE_CHECKING:
    from fl_robot_ros.bags.bag import BagReport


_logger = logging.getLogger(__name__)


class CapturePipeline:
    """Samples, masks, measures, encodes, labels, filters and stores frames.

    Live frames and bags share the threads that encode, and may come at once. Every frame ends in
    exactly one counted verdict (`VERDICTS`); a label that is unfit counts as "bad_label", and the
    label before it goes on.
    """

    def __init__(
        self,
        dataset: DatasetWriter,
        processor: FrameProcessor | None = None,
        *,
        sample_rate_hz: float = 5.0,
        queue_size: int = 64,
        label_rules: LabelRules | None = None,
        label_settle_sec: float = 4.0,
        keeps_unlabelled: bool = False,
        disk_reserve_bytes: int = 0,
        threads: int = 0,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Start the threads.

        Args:
            dataset: Where samples go.
            processor: Turns frames into samples; None: one that takes every image as it is.
            sample_rate_hz: Frames to keep per second and camera, by capture time, above 0.
            queue_size: Live frames that may wait to be encoded; more are dropped and counted.
            label_rules: How frames get their labels; None: from the labels published.
            label_settle_sec: How long an encoded frame waits, from its publication, for labels
                published before it, in s. A label that the network lost comes with DDS' next
                heartbeat, after up to 3 s.
            keeps_unlabelled: Whether frames without a label are stored for review.
            disk_reserve_bytes: Room that stays free on the disk.
            threads: Threads that encode; 0: as many as there are cores.
            clock: Returns the time in ns since the epoch, as `published_ns` of live frames.

        Raises:
            SettingError: The sample rate is not above 0.
        """
        self._processor = processor or FrameProcessor()
        self._sample_rate_hz = sample_rate_hz
        self._rules = label_rules or LabelRules()
        self._verdicts = VerdictCounter()
        self._sink = SampleSink(
            dataset,
            self._verdicts,
            min_difference_bits=self._processor.rules.min_difference_bits,
            keeps_unlabelled=keeps_unlabelled,
            disk_reserve_bytes=disk_reserve_bytes,
        )
        self._threads = threads or len(os.sched_getaffinity(0))
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="encoder")
        self._stopping = threading.Event()
        self._live = LiveCapture(
            self._processor,
            self._rules,
            self._sink,
            self._verdicts,
            self._pool,
            sample_rate_hz=sample_rate_hz,
            queue_size=queue_size,
            wait_sec=label_settle_sec + self._rules.lookback_sec,
            clock=clock,
        )

    @property
    def verdicts(self) -> Counter[str]:
        """Number of frames (and labels, for "bad_label") by verdict, since the beginning."""
        return self._verdicts.counts

    @property
    def queue_length(self) -> int:
        """Live frames that wait to be encoded, for their label or to be stored."""
        return self._live.queue_length

    @property
    def last_error(self) -> str:
        """The newest reason for a frame or a label that could not be used, "" for none."""
        return self._verdicts.last_error

    @property
    def is_disk_full(self) -> bool:
        """Whether capture pauses because the disk has no room left."""
        return self._sink.is_disk_full()

    def set_enabled(self, enabled: bool) -> None:
        """Pause or resume live capture; frames that wait already are stored, bags go on."""
        self._live.set_enabled(enabled)

    def offer_frame(self, frame: Frame) -> None:
        """Take a live frame; returns at once."""
        self._live.offer_frame(frame)

    def offer_label(self, text: str, published_ns: int) -> None:
        """Take a live label, which holds for frames published from then on."""
        self._live.offer_label(text, published_ns)

    def stop(self) -> None:
        """Store what waits, cut imports of bags short and end the threads.

        May be called twice.
        """
        self._stopping.set()
        self._live.stop()
        self._pool.shutdown()

    def import_bag(
        self,
        path: Path,
        image_topics: Collection[str] | None = None,
        progress: Callable[[int, int], None] | None = None,
        label_file: Path | None = None,
        *,
        allows_fallback: bool = True,
    ) -> BagReport:
        """Read a bag into the dataset, in this thread, with the labels in the bag.

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
            LabelError: The label file is unfit.
        """
        # Imported late, so that a robot which never reads a bag does not load rosbags.
        from fl_robot_ros.bags.bag import open_bag
        from fl_robot_ros.capture.bag_import import BagImport
        from fl_robot_ros.labels.label_ranges import LabelRanges

        bag = open_bag(path, image_topics, allows_fallback=allows_fallback, label_file=label_file)
        label_file = bag.report.label_file
        reuse_memory()
        bag_import = BagImport(
            bag,
            self._processor,
            self._sink,
            self._verdicts,
            threads=self._threads,
            sample_rate_hz=self._sample_rate_hz,
            label_rules=self._rules,
            label_ranges=LabelRanges.load(label_file) if label_file else None,
        )
        try:
            report = bag_import.run(progress, self._stopping.is_set)
            if label_file and report.frames_read and not report.is_label_file_used:
                _logger.warning(
                    "label file %s has the time of no frame of %s; its times are compared with "
                    "those of the frames' headers, or count from the beginning of the recording",
                    label_file,
                    path.name,
                )
            return report
        finally:
            self._sink.save_counts(is_last=True)
            return_memory()
