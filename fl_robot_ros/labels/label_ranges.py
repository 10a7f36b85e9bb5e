"""Labels by ranges of capture time, from a label file beside a recording."""

from __future__ import annotations

import bisect
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from fl_robot_ros.errors import LabelError
from fl_robot_ros.labels.label_file import LabelRange, read_label_file
from fl_robot_ros.topic_name import matching_names

# Each frame's topic is compared with all of them.
MAX_TOPICS = 100


class LabelRanges:
    """Labels by ranges of capture time.

    A label file is CSV with the header `start,end,label` or `start,end,label,topic`, or YAML, a
    list of mappings with these keys; its rows are in any order:

        start,end,label,topic
        2024-05-01T12:00:00Z,2024-05-01T12:00:07.5Z,pallet,
        2024-05-01T12:00:03Z,2024-05-01T12:00:05Z,stop sign,camera_left/image_raw

    A range begins with `start`, inclusive, and ends before `end`. Its times are seconds since the
    epoch with up to 9 decimals, or dates of ISO 8601 with their time zone; if all times of a
    file are seconds below 1e8, they count from the start of the recording: of the whole bag, even
    if only one of its files is read.

    A range without a topic is for all topics. Topic names match without their leading "/" and with
    any namespace before them. The label of a topic at a time is, in this order:

    1. None, if a range with an empty label, for this topic or for all, covers the time.
    2. The label of the range with the longest matching name, so that a range with a topic goes
       before one without.

    Overlapping ranges of the same name must have the same label; empty ones may overlap others.
    Immutable, so safe for use from several threads.

    Attributes:
        is_relative: Whether times count from the start of the recording.
    """

    def __init__(self, ranges: Iterable[LabelRange], is_relative: bool = False) -> None:
        """Sort the ranges.

        Args:
            ranges: The ranges, in any order, with clean labels.
            is_relative: Whether times count from the start of the recording.

        Raises:
            LabelError: Two ranges for the same topic overlap with different labels, or there are
                more than 100 topics.
        """
        self.is_relative = is_relative
        by_kind: defaultdict[tuple[str, bool], list[LabelRange]] = defaultdict(list)
        for item in ranges:
            by_kind[item.topic, not item.label].append(item)
        self._spans: dict[str, _Spans] = {}
        self._empty_spans: dict[str, _Spans] = {}
        for (topic, is_empty), items in by_kind.items():
            (self._empty_spans if is_empty else self._spans)[topic] = _Spans(items)
        # "" means all topics, and is no name to match.
        self._topics = sorted({topic for topic, _ in by_kind if topic})
        if len(self._topics) > MAX_TOPICS:
            raise LabelError(f"{len(self._topics)} topics; expected at most {MAX_TOPICS}")

    @classmethod
    def load(cls, path: Path) -> LabelRanges:
        """Read a label file; one whose name does not end in ".csv" is YAML.

        Raises:
            LabelError: The file is unreadable, too large or has an invalid row; the message names
                file, line, value and what was expected.
        """
        try:
            file = read_label_file(path)
            return cls(file.ranges, file.is_relative)
        except LabelError as error:
            raise LabelError(f"label file {path}: {error}") from error

    def at(self, topic: str, stamp_ns: int, origin_ns: int) -> str | None:
        """Return the label of a frame.

        Args:
            topic: Name of the frame's topic.
            stamp_ns: When it was captured, in ns since the epoch.
            origin_ns: Start of the recording, in ns since the epoch; used for relative times only.

        Returns:
            The label; "": a range says that there is none; None: no range covers the time.
        """
        time_ns = stamp_ns - origin_ns if self.is_relative else stamp_ns
        names = [*matching_names(topic, self._topics), ""]
        for spans_by_name in (self._empty_spans, self._spans):
            for name in names:
                spans = spans_by_name.get(name)
                label = None if spans is None else spans.at(time_ns)
                if label is not None:
                    return label
        return None


class _Spans:
    """Ranges that do not overlap, sorted."""

    def __init__(self, ranges: list[LabelRange]) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._labels: list[str] = []
        last: LabelRange | None = None
        for item in sorted(ranges):
            if last is None or item.start_ns >= last.end_ns:
                self._starts.append(item.start_ns)
                self._ends.append(item.end_ns)
                self._labels.append(item.label)
                last = item
                continue
            if item.label != last.label:
                raise _conflict(last, item)
            if item.end_ns > last.end_ns:
                self._ends[-1] = item.end_ns
                last = item

    def at(self, time_ns: int) -> str | None:
        """Return the label of the range that covers a time, None if none does."""
        index = bisect.bisect_right(self._starts, time_ns) - 1
        return self._labels[index] if index >= 0 and time_ns < self._ends[index] else None


def _conflict(first: LabelRange, second: LabelRange) -> LabelError:
    low, high = sorted((first, second), key=lambda item: item.line)
    topic = f" for topic {first.topic!r}" if first.topic else ""
    return LabelError(
        f"lines {low.line} and {high.line}: the ranges overlap{topic} with the labels "
        f"{low.label!r} and {high.label!r}; expected one label at a time"
    )
