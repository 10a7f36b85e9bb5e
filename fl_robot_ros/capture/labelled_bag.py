"""The frames of a rosbag, each with its label."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from fl_robot_ros.bags.bag import BagReport, open_bag
from fl_robot_ros.capture.running_time import RunningTime
from fl_robot_ros.errors import LabelError
from fl_robot_ros.images.frame import CompressedFrame, Frame, RawFrame, frame_bytes
from fl_robot_ros.labels.label_ranges import LabelRanges
from fl_robot_ros.labels.labeller import Labeller, LabelRules

# Bags are read in the order of time, but for damaged ones, nearly.
_SETTLE_NS = 200_000_000
# A bag whose times stand still must not fill the memory.
_MAX_WAITING_BYTES = 1 << 26


class _Waiting(NamedTuple):
    """A frame whose label may still be to come, and its time on the time line of the labels."""

    frame: Frame
    running_ns: int


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
    ) -> None:
        """Open a bag.

        Args:
            path: The bag, as `open_bag` takes it.
            image_topics: Topics to read, one of which must be there; None: all image topics.
            label_file: Labels by time, which come before those in the bag; None: the file that
                lies in the bag's folder, if there is one.
            rules: How frames get their labels; None: from the labels published.

        Raises:
            BagError: There is no bag at the path.
            LabelError: The label file is invalid.
        """
        self._reading = open_bag(path, image_topics, allows_fallback=False, label_file=label_file)
        self._rules = rules or LabelRules()
        self.report: BagReport = self._reading.report
        label_file = self.report.label_file
        self._ranges = LabelRanges.load(label_file) if label_file else None
        self._lookback_ns = round(self._rules.lookback_sec * 1e9)

    def __enter__(self) -> LabelledBag:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop reading and close the bag's files."""
        self._reading.close()

    def frames(self) -> Iterator[tuple[Frame, str]]:
        """Yield each frame in the order of recording, with its label, "" for none.

        A published text that is no label leaves the one before it in place.

        Raises:
            BagError: As `BagReader` does.
        """
        labeller: Labeller | None = None
        time = RunningTime(_SETTLE_NS)
        waiting: deque[_Waiting] = deque()
        waiting_bytes = 0
        for item in self._reading:
            if labeller is None:
                start_ns = self.report.start_ns
                origin_ns = item.published_ns if start_ns is None else start_ns
                labeller = Labeller(self._rules, self._ranges, origin_ns, self.report.label_topics)
            running_ns = time.at(item.topic, item.published_ns)
            if isinstance(item, (RawFrame, CompressedFrame)):
                waiting.append(_Waiting(item, running_ns))
                waiting_bytes += frame_bytes(item.data).size
            else:
                oldest_ns = waiting[0].running_ns if waiting else time.newest_ns
                labeller.keep_from(oldest_ns - _SETTLE_NS)
                try:
                    labeller.add(item.label, running_ns, item.topic)
                except LabelError:
                    pass
            settled_ns = time.newest_ns - _SETTLE_NS - self._lookback_ns
            while waiting and (
                waiting[0].running_ns <= settled_ns or waiting_bytes > _MAX_WAITING_BYTES
            ):
                first = waiting.popleft()
                waiting_bytes -= frame_bytes(first.frame.data).size
                yield self._labelled(labeller, first)
        for left in waiting:
            if labeller is not None:
                yield self._labelled(labeller, left)

    def _labelled(self, labeller: Labeller, item: _Waiting) -> tuple[Frame, str]:
        frame, running_ns = item
        label = labeller.label_of(frame.topic, frame.stamp_ns, running_ns, frame.published_ns)
        self.report.is_label_file_used = labeller.are_ranges_used
        return frame, label
