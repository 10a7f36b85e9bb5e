"""A rosbag on its way to the dataset."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from fl_robot_ros.bags.bag import BagReader, BagReport
from fl_robot_ros.capture.capture_time import CaptureTime
from fl_robot_ros.capture.frame_processor import FrameProcessor, ProcessedFrame
from fl_robot_ros.capture.running_time import RunningTime
from fl_robot_ros.capture.sample_sink import SampleSink
from fl_robot_ros.capture.sampler import RateSampler
from fl_robot_ros.capture.verdicts import VerdictCounter
from fl_robot_ros.errors import BagError, LabelError
from fl_robot_ros.images.frame import CompressedFrame, Frame, RawFrame, frame_bytes
from fl_robot_ros.labels.label_ranges import LabelRanges
from fl_robot_ros.labels.labeller import Labeller, LabelRules

# Samples stored with one transaction; the bag is there for another try.
_BATCH = 64
# Samples that may wait for a slow disk.
_MAX_UNSTORED = 4 * _BATCH
# Bags are read in the order of time, but for damaged ones, nearly.
_SETTLE_NS = 200_000_000
# What may wait for labels: raw frames, and groups of processed ones. A bag whose times stand still
# must not fill the memory.
_MAX_SAMPLED_BYTES = 1 << 26
_MAX_WAITING_GROUPS = 128
# Frames that a thread takes at a time: a turn for each would cost as much as a small image, and
# more bytes would leave the caches of the thread's core.
_GROUP = 64
_GROUP_BYTES = 2_000_000


class _FrameKey(NamedTuple):
    """What the label of a frame depends on.

    Attributes:
        topic: Its topic.
        captured_ns: When it was captured.
        running_ns: When it was recorded, on a time line that goes on where the recorder's clock
            is set back.
        recorded_ns: When it was recorded, by this clock.
    """

    topic: str
    captured_ns: int
    running_ns: int
    recorded_ns: int


class _Sampled(NamedTuple):
    """A frame that the sampler took."""

    frame: Frame
    key: _FrameKey


@dataclass
class _Group:
    """Frames that one thread processes in a row.

    Attributes:
        frames: Those still to be processed, the last one first.
        keys: The keys of all, in the order of reading.
        results: What became of those that are processed, in the same order.
    """

    frames: list[Frame]
    keys: list[_FrameKey]
    results: list[ProcessedFrame] = field(default_factory=list)

    @property
    def is_processed(self) -> bool:
        """Whether every frame has its result."""
        return len(self.results) == len(self.keys)


class BagImport:
    """Reads one bag into the dataset.

    All threads do the same: take their turn at reading some frames, process them, and store what
    is ready unless another thread is at it. So a frame stays with one core, and while one thread
    waits for the disk the others work.
    """

    def __init__(
        self,
        reading: BagReader,
        processor: FrameProcessor,
        sink: SampleSink,
        verdicts: VerdictCounter,
        *,
        threads: int,
        sample_rate_hz: float,
        label_rules: LabelRules,
        label_ranges: LabelRanges | None,
    ) -> None:
        """Prepare.

        Args:
            reading: The bag.
            processor: Turns frames into samples.
            sink: Where processed frames go.
            verdicts: Where frames are counted that get no further.
            threads: Threads to start beside the caller's, 1 or more.
            sample_rate_hz: Frames to keep per second and camera, by capture time, above 0.
            label_rules: How frames get their labels.
            label_ranges: The labels of the bag's label file.

        Raises:
            SettingError: The sample rate is not above 0.
        """
        self._processor = processor
        self._sink = sink
        self._verdicts = verdicts
        self._threads = threads
        self._error: BaseException | None = None
        # Held by the thread whose turn it is to read. Guards what follows.
        self._turn = threading.Lock()
        self._reading = reading
        self._is_read = False
        self._sampler = RateSampler(sample_rate_hz)
        self._capture_time = CaptureTime()
        self._rules = label_rules
        self._ranges = label_ranges
        self._lookback_ns = round(label_rules.lookback_sec * 1e9)
        self._labeller: Labeller | None = None
        self._time = RunningTime(_SETTLE_NS)
        self._sampled: deque[_Sampled] = deque()
        self._sampled_bytes = 0
        self._taken: list[_Sampled] = []
        # Held by the thread that stores.
        self._storing = threading.Lock()
        # Guards what follows.
        self._sorting = threading.Lock()
        self._waiting: deque[_Group] = deque()
        self._batch: list[tuple[ProcessedFrame, str]] = []

    def run(
        self, progress: Callable[[int, int], None] | None, should_stop: Callable[[], bool]
    ) -> BagReport:
        """Read the bag to its end.

        Args:
            progress: Is called now and then, by this thread, with the number of frames read and
                of those that the bag says it has, 0 where it does not say.
            should_stop: Is asked now and then; true cuts the import short.

        Raises:
            BagError: The bag cannot be read at all, or promises images and yields none; what was
                read of it is kept.
        """
        report = self._reading.report
        helpers = [
            threading.Thread(target=self._help, name=f"import_{number}", daemon=True)
            for number in range(self._threads)
        ]
        for helper in helpers:
            helper.start()
        try:
            while self._work():
                if progress is not None:
                    progress(report.frames_read, report.frames_expected)
                if should_stop():
                    self._end("the import was stopped")
                elif self._sink.is_disk_full():
                    self._end(
                        "the disk is full; read the bag again when there is room, and only what "
                        "is missing will be added"
                    )
        finally:
            # Has an effect only where an interrupt came.
            self._end("the import was interrupted")
            for helper in helpers:
                helper.join()
            self._reading.close()
            self._store(is_end=True)
        report.is_label_file_used = self._labeller is not None and self._labeller.are_ranges_used
        if self._error is not None:
            raise self._error
        if progress is not None:
            progress(report.frames_read, report.frames_expected)
        return report

    def _help(self) -> None:
        try:
            while self._work():
                pass
        except BaseException as error:
            self._error = error
            self._end("the import failed")

    def _end(self, loss: str) -> None:
        """Read no further; what was read is still processed."""
        with self._turn:
            if not self._is_read:
                self._is_read = True
                self._reading.report.add_loss(loss)

    def _work(self) -> bool:
        """Read, process and perhaps store some frames; return whether there were any."""
        with self._turn:
            group = self._next_group()
        if group is None:
            return False
        while group.frames:
            group.results.append(self._processor.process(group.frames.pop()))
        self._store()
        return True

    def _next_group(self) -> _Group | None:
        """Read some frames; return None at the end of the bag."""
        items: list[_Sampled] = []
        self._taken = items
        size_bytes = 0
        while len(items) < _GROUP and size_bytes < _GROUP_BYTES:
            item = self._next_frame()
            if item is None:
                break
            items.append(item)
            size_bytes += frame_bytes(item.frame.data).size
        if not items:
            return None
        group = _Group([item.frame for item in reversed(items)], [item.key for item in items])
        with self._sorting:
            self._waiting.append(group)
        self._taken = []
        return group

    def _next_frame(self) -> _Sampled | None:
        """Return the next frame that has a label or may be stored without, None at the end."""
        may_lack_label = self._lookback_ns or self._sink.keeps_unlabelled
        while True:
            while not self._sampled or not self._is_settled(self._sampled[0].key):
                if self._is_read:
                    return None
                self._read()
                if self._sampled_bytes > _MAX_SAMPLED_BYTES:
                    break
            item = self._sampled.popleft()
            self._sampled_bytes -= frame_bytes(item.frame.data).size
            if may_lack_label or self._label(item.key):
                return item
            self._verdicts.add("unlabelled")

    def _read(self) -> None:
        """Take the next frame or label of the bag."""
        try:
            item = next(self._reading, None)
        except BagError as error:
            self._error = error
            item = None
        if item is None:
            self._is_read = True
            return
        report = self._reading.report
        if self._labeller is None:
            origin_ns = item.published_ns if report.start_ns is None else report.start_ns
            self._labeller = Labeller(self._rules, self._ranges, origin_ns, report.label_topics)
        running_ns = self._time.at(item.topic, item.published_ns)
        if isinstance(item, (RawFrame, CompressedFrame)):
            captured_ns = self._capture_time.at(item.topic, item.stamp_ns, item.published_ns)
            if self._sampler.accept(item.topic, captured_ns):
                key = _FrameKey(item.topic, captured_ns, running_ns, item.published_ns)
                self._sampled.append(_Sampled(item, key))
                self._sampled_bytes += frame_bytes(item.data).size
            else:
                self._verdicts.add("sampled_out")
        else:
            self._labeller.keep_from(self._oldest_ns())
            try:
                self._labeller.add(item.label, running_ns, item.topic)
            except LabelError as error:
                self._verdicts.add_error("bad_label", str(error), str(error))

    def _oldest_ns(self) -> int:
        """Return the time of the oldest frame that still asks for its label."""
        with self._sorting:
            oldest = [self._waiting[0].keys[0]] if self._waiting else []
        oldest += [items[0].key for items in (self._taken, self._sampled) if items]
        newest_ns = self._time.newest_ns
        return min((key.running_ns for key in oldest), default=newest_ns) - _SETTLE_NS

    def _is_settled(self, key: _FrameKey, lookback_ns: int = 0) -> bool:
        """Say whether every label for a frame of that time has been read."""
        latest_ns = self._time.newest_ns - _SETTLE_NS - lookback_ns
        return self._is_read or key.running_ns <= latest_ns

    def _label(self, key: _FrameKey) -> str:
        if self._labeller is None:
            return ""
        return self._labeller.label_of(*key)

    def _store(self, is_end: bool = False) -> None:
        """Store what is ready, if it is enough and no other thread is at it; at the end, all."""
        with self._sorting:
            self._sort(is_end)
            ready = len(self._batch)
        is_due = is_end or ready >= _BATCH
        if is_due and self._storing.acquire(blocking=is_end or ready > _MAX_UNSTORED):
            try:
                with self._sorting:
                    batch, self._batch = self._batch, []
                self._sink.store(batch)
            finally:
                self._storing.release()

    def _sort(self, is_end: bool) -> None:
        """Put the oldest frames whose labels are known by now into the batch; at the end, all."""
        while self._waiting and (is_end or self._is_ready(self._waiting[0])):
            group = self._waiting.popleft()
            # A thread that was interrupted leaves frames without results.
            labels = [self._label(key) for key in group.keys[: len(group.results)]]
            self._batch += zip(group.results, labels, strict=True)

    def _is_ready(self, group: _Group) -> bool:
        is_settled = self._is_settled(group.keys[-1], self._lookback_ns)
        return group.is_processed and (is_settled or len(self._waiting) > _MAX_WAITING_GROUPS)
