"""Live frames and labels on their way to the dataset."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass

from fl_robot_ros.capture.capture_time import CaptureTime
from fl_robot_ros.capture.frame_processor import FrameProcessor, ProcessedFrame
from fl_robot_ros.capture.running_time import RunningTime
from fl_robot_ros.capture.sample_sink import SampleSink
from fl_robot_ros.capture.sampler import RateSampler
from fl_robot_ros.capture.verdicts import VerdictCounter
from fl_robot_ros.errors import LabelError
from fl_robot_ros.images.frame import Frame
from fl_robot_ros.labels.label_text import MAX_LABEL_CHARACTERS
from fl_robot_ros.labels.labeller import Labeller, LabelRules
from fl_robot_ros.topic_name import LABEL_TOPIC

# Samples stored with one transaction: little is at stake at any time.
_BATCH = 16
# How often the waiting thread looks at the clock, which may be set meanwhile.
_POLL_SEC = 0.05
_IDLE_POLL_SEC = 1.0
# A message so much older than the newest of its topic means that the clock was set back; one that
# DDS lost and sends again is not so late.
_CLOCK_STEP_NS = 10_000_000_000
# JPEG files that may wait for a label; above that the oldest take what label they have.
_MAX_WAITING_BYTES = 1 << 28

_logger = logging.getLogger(__name__)


@dataclass
class _Waiting:
    """A frame that is being processed, or whose label is not sure yet.

    Attributes:
        is_processed: The result is there, and is counted no more as one to come.
    """

    topic: str
    stamp_ns: int
    published_ns: int
    running_ns: int
    result: Future[ProcessedFrame]
    is_processed: bool = False


class LiveCapture:
    """Samples frames, has them processed, and lets them wait until their label is sure.

    A frame is processed at once, in a thread of the pool, and waits, small as it is then, for
    labels that were published before it, or that look back at it.
    """

    def __init__(
        self,
        processor: FrameProcessor,
        label_rules: LabelRules,
        sink: SampleSink,
        verdicts: VerdictCounter,
        pool: Executor,
        *,
        sample_rate_hz: float,
        queue_size: int,
        wait_sec: float,
        clock: Callable[[], int],
    ) -> None:
        """Start the thread that stores.

        Args:
            processor: Turns frames into samples.
            label_rules: How frames get their labels.
            sink: Where processed frames go.
            verdicts: Where frames are counted that get no further.
            pool: Where frames are processed.
            sample_rate_hz: Frames to keep per second and camera, by capture time, above 0.
            queue_size: Frames that may wait to be processed or stored; more are dropped and
                counted.
            wait_sec: How long a frame waits for its label, from its publication, in s.
            clock: Returns the time in ns since the epoch, as `published_ns` of frames.

        Raises:
            SettingError: The sample rate is not above 0.
        """
        self._processor = processor
        self._rules = label_rules
        self._sink = sink
        self._verdicts = verdicts
        self._pool = pool
        self._queue_size = queue_size
        self._wait_ns = round(wait_sec * 1e9)
        self._clock = clock
        # Guards everything below.
        self._changed = threading.Condition()
        self._sampler = RateSampler(sample_rate_hz)
        self._capture_time = CaptureTime()
        self._waiting: deque[_Waiting] = deque()
        self._processing = 0
        self._waiting_bytes = 0
        self._labeller = Labeller(label_rules)
        # Labels that were published before the clock was set back must not come back later.
        self._time = RunningTime(_CLOCK_STEP_NS)
        self._arrived_ns = 0
        self._topics_with_other_clock: set[str] = set()
        self._is_brief_wait_told = False
        self._is_stale_label_told = False
        self._is_enabled = True
        self._is_stopping = False
        self._thread = threading.Thread(target=self._work, name="capture", daemon=True)
        self._thread.start()

    @property
    def queue_length(self) -> int:
        """Frames that wait to be processed, for their label or to be stored."""
        with self._changed:
            return len(self._waiting)

    def set_enabled(self, enabled: bool) -> None:
        """Pause or resume; frames that wait already are stored."""
        with self._changed:
            self._is_enabled = enabled

    def offer_frame(self, frame: Frame) -> None:
        """Take a frame; returns at once."""
        with self._changed:
            now_ns = self._arrival_ns()
            self._warn_of_other_clock(frame, now_ns)
            verdict = self._refused(frame, now_ns)
            if verdict:
                self._verdicts.add(verdict)
                return
            result = self._pool.submit(self._processor.process, frame)
            self._processing += 1
            # A publisher's clock may be ahead of ours; then the time of arrival counts.
            published_ns = min(frame.published_ns, now_ns)
            running_ns = self._time.at(frame.topic, published_ns)
            item = _Waiting(frame.topic, frame.stamp_ns, published_ns, running_ns, result)
            self._waiting.append(item)
            self._changed.notify_all()
        result.add_done_callback(lambda _: self._on_processed(item))

    def offer_label(self, text: str, published_ns: int) -> None:
        """Take a label, which holds for frames published from then on."""
        with self._changed:
            published_ns = min(published_ns, self._arrival_ns())  # as for frames
            running_ns = self._time.at(LABEL_TOPIC, published_ns)
            self._warn_of_stale_label(text, self._time.newest_ns - running_ns)
            oldest_ns = self._waiting[0].running_ns if self._waiting else running_ns
        # Frames of several cameras do not come in the order of their publication.
        self._labeller.keep_from(oldest_ns - _CLOCK_STEP_NS)
        try:
            self._labeller.add(text, running_ns)
        except LabelError as error:
            self._verdicts.add_error("bad_label", str(error), str(error))

    def stop(self) -> None:
        """Store what waits, and end the thread."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
        self._thread.join()

    def _arrival_ns(self) -> int:
        """Return the time at which a message arrives."""
        now_ns = self._clock()
        if now_ns < self._arrived_ns:
            self._time.set_back()
        self._arrived_ns = now_ns
        return now_ns

    def _warn_of_other_clock(self, frame: Frame, now_ns: int) -> None:
        """Say once for each topic that labels by time of publication cannot fit its frames."""
        late_ns = now_ns - frame.published_ns
        if abs(late_ns) > _CLOCK_STEP_NS and frame.topic not in self._topics_with_other_clock:
            self._topics_with_other_clock.add(frame.topic)
            _logger.warning(
                "topic %s: a frame came %.0f s %s its publisher's clock says; labels count by the "
                "time of publication: let the computers synchronise their clocks",
                frame.topic,
                abs(late_ns) / 1e9,
                "later than" if late_ns > 0 else "before",
            )

    def _warn_of_stale_label(self, text: str, age_ns: int) -> None:
        """Say once that a label holds no more when it comes.

        Args:
            text: The label.
            age_ns: How much older it is than the newest frame or label, in ns.
        """
        hold_sec = self._rules.hold_sec
        if hold_sec and age_ns > hold_sec * 1e9 and not self._is_stale_label_told:
            self._is_stale_label_told = True
            _logger.warning(
                "label %r is %.0f s older than what came before it and holds for %g s: it came "
                "late, or its publisher has another clock",
                text[:MAX_LABEL_CHARACTERS],
                age_ns / 1e9,
                hold_sec,
            )

    def _refused(self, frame: Frame, now_ns: int) -> str:
        """Return the verdict on a frame that is not even processed, "" for none."""
        if not self._is_enabled or self._is_stopping:
            return "paused"
        time_ns = self._capture_time.at(frame.topic, frame.stamp_ns, frame.published_ns)
        if not self._sampler.accept(frame.topic, time_ns):
            return "sampled_out"
        if self._sink.is_disk_full():
            return "disk_full"
        # Those that wait for nothing but their label do not count.
        backlog = self._processing
        for item in self._waiting:
            if backlog >= self._queue_size:
                return "queue_full"
            if self._is_young(item, now_ns):
                break
            backlog += item.is_processed
        return "queue_full" if backlog >= self._queue_size else ""

    def _on_processed(self, item: _Waiting) -> None:
        with self._changed:
            item.is_processed = True
            self._processing -= 1
            self._waiting_bytes += _waiting_bytes(item.result)
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            self._sink.save_counts()
            with self._changed:
                settled = self._take_settled()
                if not settled:
                    if self._is_stopping and not self._waiting:
                        break
                    self._changed.wait(_POLL_SEC if self._waiting else _IDLE_POLL_SEC)
                    continue
            self._sink.store([(item.result.result(), self._label(item)) for item in settled])
            with self._changed:
                for item in settled:
                    self._waiting.popleft()
                    self._waiting_bytes -= _waiting_bytes(item.result)
        self._sink.save_counts(is_last=True)

    def _take_settled(self) -> list[_Waiting]:
        """Return the oldest frames whose labels are known by now, at the end all."""
        now_ns = self._clock()
        waiting_bytes = self._waiting_bytes
        settled: list[_Waiting] = []
        for item in self._waiting:
            if len(settled) == _BATCH or not item.is_processed:
                break
            if not self._is_stopping and self._is_young(item, now_ns):
                if waiting_bytes <= _MAX_WAITING_BYTES:
                    break
                self._warn_of_brief_wait(now_ns - item.published_ns)
            settled.append(item)
            waiting_bytes -= _waiting_bytes(item.result)
        return settled

    def _warn_of_brief_wait(self, waited_ns: int) -> None:
        """Say once that frames do not wait for their label as long as they should."""
        if not self._is_brief_wait_told:
            self._is_brief_wait_told = True
            _logger.warning(
                "frames wait %.1f instead of %.1f s for their label, because %d MB of them wait: "
                "for all of label_lookback_sec, have fewer frames or smaller ones",
                waited_ns / 1e9,
                self._wait_ns / 1e9,
                _MAX_WAITING_BYTES // 1_000_000,
            )

    def _label(self, item: _Waiting) -> str:
        return self._labeller.label_of(item.topic, item.stamp_ns, item.running_ns)

    def _is_young(self, item: _Waiting, now_ns: int) -> bool:
        """Say whether a label for the frame may still come."""
        # A time in the future means that the clock was set back meanwhile.
        return 0 <= now_ns - item.published_ns < self._wait_ns


def _waiting_bytes(result: Future[ProcessedFrame]) -> int:
    sample = result.result().sample
    return len(sample.image_bytes) if sample is not None else 0
