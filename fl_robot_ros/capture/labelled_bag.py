"""The frames of a rosbag, each with its label."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path

from fl_robot_ros.bags.bag import BagReport, LabelMessage, open_bag
from fl_robot_ros.capture.capture_time import CaptureTime
from fl_robot_ros.capture.settling_queue import SettlingQueue, WaitingFrame
from fl_robot_ros.errors import LabelError
from fl_robot_ros.images.frame import Frame, frame_bytes
from fl_robot_ros.labels.label_ranges import LabelRanges
from fl_robot_ros.labels.labeller import Labeller, LabelRules

# Bags are read in the order of time, damaged ones only nearly so.
_DISORDER_NS = 200_000_000
# A bag whose times stand still must not fill the memory.
_MAX_WAITING_BYTES = 1 << 26


class LabelledBag:
    """Reads every frame of a bag, with the label that an import would give it.

    Attributes:
        report: What has been read so far, and at the end what was lost.
    """

    def __init__(
        self,
        path: Path,
        image_topics: Collection[str] | None = None,
        label_file: Path | None = None,
        rules: LabelRules | None = None,
        *,
        allows_fallback: bool = False,
    ) -> None:
        """Open a bag.

        Args:
            path: The bag, as `open_bag` takes it.
            image_topics: Topics to read, one of which must be there; None: all image topics.
            label_file: Labels by time, which come before those in the bag; None: the file that
                lies in the bag's folder, if there is one.
            rules: How frames get their labels; None: from the labels published.
            allows_fallback: Whether all image topics are read where none of those is in the bag.

        Raises:
            BagError: There is no bag at the path.
            LabelError: The label file is invalid.
        """
        self._reading = open_bag(
            path, image_topics, allows_fallback=allows_fallback, label_file=label_file
        )
        self._rules = rules or LabelRules()
        self.report: BagReport = self._reading.report
        label_file = self.report.label_file
        self._ranges = LabelRanges.load(label_file) if label_file else None
        self._settle_ns = _DISORDER_NS + round(self._rules.lookback_sec * 1e9)

    def __enter__(self) -> LabelledBag:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop reading and close the bag's files."""
        self._reading.close()

    def begin(self, max_bytes: int) -> tuple[SettlingQueue, Iterator[Frame | LabelMessage]]:
        """Return a queue that labels the bag's frames, and the frames and labels to put into it.

        Args:
            max_bytes: Bytes of frames that may wait for their labels.

        Raises:
            BagError: As `BagReader` does; the iterator too.
        """
        first = next(self._reading, None)
        first_ns = first.published_ns if first else 0
        start_ns = first_ns if self.report.start_ns is None else self.report.start_ns
        labeller = Labeller(self._rules, self._ranges, start_ns, self.report.label_topics)
        queue = SettlingQueue(labeller, _DISORDER_NS, max_bytes)
        return queue, chain([first] if first else [], self._reading)

    def is_young(self, item: WaitingFrame, newest_ns: int) -> bool:
        """Say whether labels for a frame may still be read, given the latest time read so far."""
        return item.running_ns > newest_ns - self._settle_ns

    def frames(self) -> Iterator[tuple[Frame, str]]:
        """Yield each frame in the order of recording, with its label, "" for none.

        An invalid label leaves the one before it in place.

        Raises:
            BagError: As `BagReader` does.
        """
        capture_time = CaptureTime()
        queue, items = self.begin(_MAX_WAITING_BYTES)
        for item in items:
            if isinstance(item, LabelMessage):
                with suppress(LabelError):
                    queue.add_label(item.label, item.published_ns, item.topic)
            else:
                captured_ns = capture_time.at(item.topic, item.stamp_ns, item.published_ns)
                waiting = queue.add(item, captured_ns, item.published_ns)
                queue.finish(waiting, frame_bytes(item.data).size)
            yield from self._taken(queue, is_end=False)
        yield from self._taken(queue, is_end=True)

    def _taken(self, queue: SettlingQueue, *, is_end: bool) -> Iterator[tuple[Frame, str]]:
        """Take the frames out of the queue whose labels are sure, at the end all."""
        settled = queue.settled(lambda item: not is_end and self.is_young(item, queue.newest_ns))
        queue.remove(settled)
        for item in settled:
            assert item.frame is not None
            label = queue.label_of(item)
            self.report.is_label_file_used = queue.are_ranges_used
            yield item.frame, label
