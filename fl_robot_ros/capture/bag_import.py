"""A rosbag on its way to the dataset."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass

from fl_robot_ros.capture.bag import BagReading, BagReport, LabelMessage
from fl_robot_ros.capture.frame import CompressedFrame, Frame, RawFrame, data_bytes
from fl_robot_ros.capture.frame_processor import FrameProcessor, ProcessedFrame
from fl_robot_ros.capture.label_ranges import LabelRanges
from fl_robot_ros.capture.labeller import Labeller, LabelRules
from fl_robot_ros.capture.sample_sink import SampleSink
from fl_robot_ros.capture.sampler import RateSampler
from fl_robot_ros.capture.verdicts import VerdictCounter
from fl_robot_ros.errors import LabelError

# Samples stored with one transaction; the bag is there for another try.
_BATCH = 64
# Bags are read in the order of time, but for damaged ones, nearly.
_SETTLE_NS = 200_000_000
# Frames that wait to be processed may take so much memory; more would only leave the caches.
_MAX_UNPROCESSED_BYTES = 16_000_000


@dataclass(frozen=True)
class _Waiting:
    """A frame that is being processed, or whose label is not sure yet."""

    topic: str
    stamp_ns: int
    published_ns: int
    result: Future[ProcessedFrame]


class BagImport:
    """Reads one bag into the dataset.

    The caller's thread reads, the pool encodes, and a thread of its own waits for the disk.
    """

    def __init__(
        self,
        reading: BagReading,
        processor: FrameProcessor,
        sink: SampleSink,
        verdicts: VerdictCounter,
        pool: Executor,
        *,
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
            pool: Where frames are processed.
            sample_rate_hz: Frames to keep per second and topic, by capture time, above 0.
            label_rules: How frames get their labels.
            label_ranges: The labels of the bag's label file.

        Raises:
            SettingError: The sample rate is not above 0.
        """
        self._reading = reading
        self._processor = processor
        self._sink = sink
        self._verdicts = verdicts
        self._pool = pool
        self._sampler = RateSampler(sample_rate_hz)
        self._rules = label_rules
        self._ranges = label_ranges
        self._lookback_ns = round(label_rules.lookback_sec * 1e9)
        self._labeller: Labeller | None = None
        self._newest_ns = 0
        self._raw: deque[Frame] = deque()
        self._waiting: deque[_Waiting] = deque()
        self._unprocessed: deque[tuple[Future[ProcessedFrame], int]] = deque()
        self._unprocessed_bytes = 0
        self._batch: list[tuple[ProcessedFrame, str]] = []
        self._storer = ThreadPoolExecutor(1, thread_name_prefix="storer")
        self._storing: Future[None] | None = None

    def run(
        self, progress: Callable[[int], None] | None, should_stop: Callable[[], bool]
    ) -> BagReport:
        """Read the bag to its end.

        Args:
            progress: Is called now and then with the number of frames read.
            should_stop: Is asked now and then; true cuts the import short.

        Raises:
            BagError: The bag cannot be read at all, or promises images and yields none.
        """
        report = self._reading.report
        try:
            for item in self._reading:
                self._take(item)
                if should_stop():
                    report.add_loss("the import was stopped")
                    break
                if len(self._batch) >= _BATCH:
                    self._store()
                    if progress is not None:
                        progress(report.frames_read)
                    if self._sink.is_disk_full():
                        report.add_loss(
                            "the disk is full; read the bag again when there is room, and only "
                            "what is missing will be added"
                        )
                        break
        finally:
            # What was read from a bag that turns out to be damaged is kept.
            self._reading.close()
            while self._raw:
                self._process(self._raw.popleft())
            while self._waiting:
                self._finish(self._waiting.popleft())
            self._store()
            self._storer.shutdown()
            if self._storing is not None:
                self._storing.result()  # raises what nobody thought of
        if progress is not None:
            progress(report.frames_read)
        return report

    def _take(self, item: Frame | LabelMessage) -> None:
        """Take a frame or a label, and move on with the frames whose label is known now."""
        published_ns = item.published_ns
        if self._labeller is None:
            self._labeller = self._rules.labeller(self._ranges, published_ns)
        self._newest_ns = max(self._newest_ns, published_ns)
        if isinstance(item, (RawFrame, CompressedFrame)):
            if self._sampler.accept(item.topic, item.stamp_ns):
                self._raw.append(item)
            else:
                self._verdicts.add("sampled_out")
        else:
            try:
                self._labeller.add(item.label, published_ns)
            except LabelError as error:
                self._verdicts.add_error("bad_label", str(error), str(error))
        settled_ns = self._newest_ns - _SETTLE_NS
        while self._raw and self._raw[0].published_ns <= settled_ns:
            self._process(self._raw.popleft())
        settled_ns -= self._lookback_ns
        while (
            self._waiting
            and self._waiting[0].published_ns <= settled_ns
            and self._waiting[0].result.done()
        ):
            self._finish(self._waiting.popleft())

    def _process(self, frame: Frame) -> None:
        """Hand a frame to the pool, unless it has no label and will have none."""
        may_be_labelled = self._lookback_ns or self._sink.keeps_unlabelled
        if not may_be_labelled and not self._label(
            frame.topic, frame.stamp_ns, frame.published_ns
        ):
            self._verdicts.add("unlabelled")
            return
        result = self._pool.submit(self._processor.process, frame)
        self._waiting.append(_Waiting(frame.topic, frame.stamp_ns, frame.published_ns, result))
        self._unprocessed.append((result, data_bytes(frame.data)))
        self._unprocessed_bytes += self._unprocessed[-1][1]
        while self._unprocessed and (
            self._unprocessed[0][0].done() or self._unprocessed_bytes > _MAX_UNPROCESSED_BYTES
        ):
            oldest, size_bytes = self._unprocessed.popleft()
            oldest.result()
            self._unprocessed_bytes -= size_bytes

    def _finish(self, item: _Waiting) -> None:
        label = self._label(item.topic, item.stamp_ns, item.published_ns)
        self._batch.append((item.result.result(), label))

    def _label(self, topic: str, stamp_ns: int, published_ns: int) -> str:
        return self._labeller.label_of(topic, stamp_ns, published_ns) if self._labeller else ""

    def _store(self) -> None:
        """Store the batch, once the one before it is stored."""
        if self._storing is not None:
            self._storing.result()
        self._storing = self._storer.submit(self._sink.store, self._batch)
        self._batch = []
