"""A rosbag on its way to the dataset."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import closing

from fl_robot_ros.bags.bag import BagReport, LabelMessage
from fl_robot_ros.capture.capture_time import CaptureTime
from fl_robot_ros.capture.frame_processor import FrameProcessor
from fl_robot_ros.capture.labelled_bag import LabelledBag
from fl_robot_ros.capture.malloc import return_memory, reuse_memory
from fl_robot_ros.capture.sample_sink import SampleSink
from fl_robot_ros.capture.sampler import RateSampler
from fl_robot_ros.capture.settling_queue import MAX_WAITING_BYTES, SettlingQueue, WaitingFrame
from fl_robot_ros.capture.verdicts import Verdict
from fl_robot_ros.errors import LabelError
from fl_robot_ros.images.frame import Frame, frame_bytes

# Samples stored with one transaction; the bag is there for another try.
_BATCH = 64
# Samples that may wait for a slow disk.
_MAX_UNSTORED = 4 * _BATCH
# Frames that a thread takes at a time: a turn for each would cost as much as a small image, and
# more bytes would leave the caches of the thread's core.
_GROUP = 64
_GROUP_BYTES = 2_000_000
# Messages that a thread reads at a time, so that live frames get their turn.
_MAX_READ = 256

_logger = logging.getLogger(__name__)


class BagImport:
    """Reads one bag into the dataset.

    The threads that encode live frames do the work in steps: one thread reads some frames, has
    another thread read on, and encodes its own. So a frame stays with one core. The thread that
    imports stores the frames meanwhile.
    """

    def __init__(
        self,
        bag: LabelledBag,
        sampler: RateSampler,
        processor: FrameProcessor,
        encoders: Executor,
        sink: SampleSink,
    ) -> None:
        """Prepare.

        Args:
            bag: The bag, of which nothing was read.
            sampler: Says which frames are kept.
            processor: Turns frames into samples.
            encoders: The threads in which frames are read and encoded.
            sink: Where processed frames go.
        """
        self._bag = bag
        self._sampler = sampler
        self._processor = processor
        self._encoders = encoders
        self._sink = sink
        self._capture_time = CaptureTime()
        self._queue: SettlingQueue
        self._items: Iterator[Frame | LabelMessage]
        # The queue's lock guards everything below.
        self._error: BaseException | None = None
        self._is_read = False
        self._is_reading = False
        self._steps = 0

    def run(
        self, progress: Callable[[int, int], None] | None, should_stop: Callable[[], bool]
    ) -> BagReport:
        """Read the bag to its end, and close it.

        Args:
            progress: Is called now and then, by this thread, with the number of frames read and
                of those that the bag says it has, 0 where it does not say.
            should_stop: Is asked now and then; true cuts the import short.

        Raises:
            BagError: The bag cannot be read at all, or promises images and yields none; what was
                read of it is kept.
        """
        reuse_memory()
        try:
            with closing(self._bag):
                self._queue, self._items = self._bag.begin(MAX_WAITING_BYTES)
                self._read_and_store(progress, should_stop)
        finally:
            self._sink.save_counts()
            return_memory()
        report = self._bag.report
        report.is_label_file_used = self._queue.are_ranges_used
        if self._error is not None:
            raise self._error
        if progress is not None:
            progress(report.frames_read, report.frames_expected)
        return report

    def _read_and_store(
        self, progress: Callable[[int, int], None] | None, should_stop: Callable[[], bool]
    ) -> None:
        """Have the bag read, and store its frames in this thread."""
        report = self._bag.report
        try:
            while self._store_next():
                if progress is not None:
                    progress(report.frames_read, report.frames_expected)
                if should_stop():
                    self._end("the import was stopped")
                elif self._sink.is_disk_full:
                    self._end(
                        "the disk is full; read the bag again when there is room, and only what "
                        "is missing will be added"
                    )
        finally:
            # Has an effect only where an interrupt came.
            self._end("the import was interrupted")
            with self._queue.changed:
                self._queue.changed.wait_for(lambda: not self._steps)
            self._queue.store(self._queue.settled(self._is_young), self._sink)

    def _store_next(self) -> bool:
        """Store a batch, or wait for one; return whether more is to come."""
        with self._queue.changed:
            self._read_on()
            is_end = self._is_read and not self._steps
            batch = self._queue.settled(self._is_young, _BATCH)
            if len(batch) < _BATCH and not is_end:
                self._queue.changed.wait()
                return True
        self._queue.store(batch, self._sink)
        return not is_end

    def _read_on(self) -> None:
        """Have another thread read on, unless one does or too many frames wait for the disk."""
        with self._queue.changed:
            if self._is_read or self._is_reading:
                return
            if len(self._queue.settled(self._is_young, _MAX_UNSTORED)) == _MAX_UNSTORED:
                return
            try:
                self._encoders.submit(self._step)
            except RuntimeError:
                self._end("the import was stopped")
            else:
                self._is_reading = True
                self._steps += 1

    def _step(self) -> None:
        """Read some frames, have another thread read on, and encode them."""
        try:
            items = self._read_group()
            with self._queue.changed:
                self._is_reading = False
                self._read_on()
            self._queue.encode(items, self._processor)
        except BaseException as error:
            self._error = error
            self._end("the import failed")
        finally:
            with self._queue.changed:
                self._steps -= 1
                self._queue.changed.notify_all()

    def _read_group(self) -> list[WaitingFrame]:
        """Read the next frames and labels of the bag; return the frames that the sampler takes."""
        group: list[WaitingFrame] = []
        size_bytes = 0
        for _ in range(_MAX_READ):
            if self._is_read or len(group) == _GROUP or size_bytes >= _GROUP_BYTES:
                break
            try:
                item = next(self._items, None)
            except Exception as error:
                # What was read is kept.
                self._error = error
                item = None
            if item is None:
                self._is_read = True
            elif isinstance(item, LabelMessage):
                self._take_label(item)
            elif taken := self._sampled(item):
                group.append(taken)
                size_bytes += frame_bytes(item.data).size
        return group

    def _take_label(self, item: LabelMessage) -> None:
        try:
            self._queue.add_label(item.label, item.published_ns, item.topic)
        except LabelError as error:
            self._sink.verdicts.add_error(Verdict.BAD_LABEL, str(error), str(error))

    def _sampled(self, frame: Frame) -> WaitingFrame | None:
        """Return a frame that waits in the queue, None for one that is sampled out."""
        captured_ns = self._capture_time.at(frame.topic, frame.stamp_ns, frame.published_ns)
        if self._sampler.accept(frame.topic, captured_ns):
            return self._queue.add(frame, captured_ns, frame.published_ns)
        self._queue.pass_over(frame.topic, frame.published_ns)
        self._sink.verdicts.add(Verdict.SAMPLED_OUT)
        return None

    def _is_young(self, item: WaitingFrame) -> bool:
        return not self._is_read and self._bag.is_young(item, self._queue.newest_ns)

    def _end(self, loss: str) -> None:
        """Read no further; what was read is still encoded and stored."""
        with self._queue.changed:
            if not self._is_read:
                self._is_read = True
                self._bag.report.add_loss(loss)
