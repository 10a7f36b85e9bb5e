"""Frames that wait, encoded or not, until their labels are sure."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from fl_robot_ros.capture.frame_processor import FrameProcessor, ProcessedFrame
from fl_robot_ros.capture.running_time import RunningTime
from fl_robot_ros.capture.sample_sink import SampleSink
from fl_robot_ros.images.frame import Frame
from fl_robot_ros.labels.labeller import Labeller
from fl_robot_ros.topic_name import LABEL_TOPIC

# Bytes that may wait for labels; above that the oldest frames take the label known by then.
MAX_WAITING_BYTES = 1 << 28


@dataclass(eq=False)
class WaitingFrame:
    """A frame in the queue.

    Attributes:
        topic: Its topic.
        captured_ns: When it was captured.
        published_ns: When it was published or recorded, by that clock.
        running_ns: The same on the time line of the labels, which goes on where the clock is set
            back.
        frame: The frame, until it is encoded.
        result: What encoding it gave.
        size_bytes: What it takes in memory once its work is done; None until then.
    """

    topic: str
    captured_ns: int
    published_ns: int
    running_ns: int
    frame: Frame | None
    result: ProcessedFrame | None = None
    size_bytes: int | None = None


IsYoung = Callable[[WaitingFrame], bool]


class SettlingQueue:
    """Holds frames in order of arrival, and labels, on one time line.

    Frames may be encoded meanwhile, by several threads. Safe for use from several threads.

    Attributes:
        changed: Guards the queue; notified when frames are encoded or leave. Callers may hold it
            over several steps.
    """

    def __init__(self, labeller: Labeller, disorder_ns: int, max_bytes: int) -> None:
        """Make an empty queue.

        Args:
            labeller: Takes the labels, and says which one a frame has.
            disorder_ns: How far the times of one topic may go back while the clock goes on, in ns.
            max_bytes: Bytes that may wait; above that, young frames settle too.
        """
        self.changed = threading.Condition()
        self._labeller = labeller
        self._disorder_ns = disorder_ns
        self._max_bytes = max_bytes
        self._time = RunningTime(disorder_ns)
        self._waiting: deque[WaitingFrame] = deque()
        self._waiting_bytes = 0
        self._unfinished = 0

    def __len__(self) -> int:
        """Number of frames that wait, those that are being stored included."""
        with self.changed:
            return len(self._waiting)

    @property
    def newest_ns(self) -> int:
        """The latest time of a frame or label so far, in ns, on the time line of the labels."""
        return self._time.newest_ns

    @property
    def are_ranges_used(self) -> bool:
        """Whether a label file had the time of any frame so far."""
        return self._labeller.are_ranges_used

    def set_clock_back(self) -> None:
        """Note that the clock was set back before the next frame or label."""
        with self.changed:
            self._time.set_back()

    def pass_over(self, topic: str, published_ns: int) -> int:
        """Let the time line go on with a frame that does not wait; return its time there."""
        with self.changed:
            return self._time.at(topic, published_ns)

    def add(self, frame: Frame, captured_ns: int, published_ns: int) -> WaitingFrame:
        """Take a frame in, whose work is still to be done."""
        with self.changed:
            running_ns = self._time.at(frame.topic, published_ns)
            item = WaitingFrame(frame.topic, captured_ns, published_ns, running_ns, frame)
            self._waiting.append(item)
            self._unfinished += 1
            return item

    def add_label(self, text: str, published_ns: int, topic: str = LABEL_TOPIC) -> int:
        """Take a label, which holds from its publication on; return its time on the time line.

        Raises:
            LabelError: The label is invalid; the one before it goes on.
        """
        with self.changed:
            running_ns = self._time.at(topic, published_ns)
            oldest_ns = self._waiting[0].running_ns if self._waiting else self.newest_ns
            # Frames of several cameras do not come in the order of their publication.
            self._labeller.keep_from(oldest_ns - self._disorder_ns)
            self._labeller.add(text, running_ns, topic)
            return running_ns

    def encode(self, items: Sequence[WaitingFrame], processor: FrameProcessor) -> None:
        """Process frames in this thread."""
        try:
            for item in items:
                assert item.frame is not None
                item.result = result = processor.process(item.frame)
                item.frame = None
                self.finish(item, len(result.sample.image_bytes) if result.sample else 0)
        finally:
            with self.changed:
                for item in items:
                    # An error leaves frames without a result.
                    if item.size_bytes is None:
                        self.finish(item, 0)
                self.changed.notify_all()

    def finish(self, item: WaitingFrame, size_bytes: int) -> None:
        """Note that a frame waits for nothing but its label, and its size in memory."""
        with self.changed:
            item.size_bytes = size_bytes
            self._waiting_bytes += size_bytes
            self._unfinished -= 1

    def settled(self, is_young: IsYoung, limit: int | None = None) -> list[WaitingFrame]:
        """Return the oldest frames that are finished and whose labels are sure; they stay.

        Args:
            is_young: Says whether labels for a frame may still come.
            limit: The most to return; None: all.
        """
        found: list[WaitingFrame] = []
        with self.changed:
            waiting_bytes = self._waiting_bytes
            for item in islice(self._waiting, limit):
                is_held = waiting_bytes <= self._max_bytes and is_young(item)
                if item.size_bytes is None or is_held:
                    break
                found.append(item)
                waiting_bytes -= item.size_bytes
        return found

    def backlog(self, is_young: IsYoung, limit: int) -> int:
        """Return how many frames, up to a limit, wait for their work or for the disk."""
        with self.changed:
            count = self._unfinished
            for item in self._waiting:
                if count >= limit or is_young(item):
                    break
                count += item.size_bytes is not None
            return min(count, limit)

    def label_of(self, item: WaitingFrame) -> str:
        """Return a frame's label, as far as labels are known; "" for none."""
        return self._labeller.label_of(
            item.topic, item.captured_ns, item.running_ns, item.published_ns
        )

    def store(self, items: Sequence[WaitingFrame], sink: SampleSink) -> None:
        """Store the oldest frames, as `settled` returned them, and let them go."""
        sink.store([(item.result, self.label_of(item)) for item in items if item.result])
        self.remove(items)

    def remove(self, items: Sequence[WaitingFrame]) -> None:
        """Let the oldest frames go, as `settled` returned them."""
        with self.changed:
            for item in items:
                self._waiting.popleft()
                self._waiting_bytes -= item.size_bytes or 0
            self.changed.notify_all()
