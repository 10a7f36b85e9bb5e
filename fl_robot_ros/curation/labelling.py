"""Labels given after capture: which samples get which label, by id, time or list."""

from __future__ import annotations

import bisect
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from fl_robot_ros.dataset.dataset import Dataset
from fl_robot_ros.dataset.sample import Sample
from fl_robot_ros.dataset.sample_paths import STAMP_LIMIT
from fl_robot_ros.errors import LabelError
from fl_robot_ros.labels.label_file import LabelRange
from fl_robot_ros.labels.label_ranges import LabelRanges
from fl_robot_ros.labels.label_time import parse_label_time

# Samples relabelled in one transaction, which excludes other writers.
_BATCH = 500


class LabelChooser(Protocol):
    """Chooses a label for each sample of a dataset."""

    @property
    def description(self) -> str:
        """How a list was read, in one line; "" for nothing to report."""
        ...

    def __call__(self, sample: Sample) -> str | None:
        """Return the new label of a sample, None to leave it alone.

        Raises:
            LabelError: The choice is ambiguous.
        """
        ...

    def unmatched(self) -> list[str]:
        """Return what the user has named and none of the samples so far has matched."""
        ...


class IdRange(NamedTuple):
    """Ids from the first to the last, inclusive."""

    first: int
    last: int

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


@dataclass
class LabelPlan:
    """The changes to make.

    Attributes:
        changes: Ids of samples by their new label.
        same: Number of chosen samples that have the label already.
        protected: Number of chosen samples that keep another label.
    """

    changes: dict[str, list[int]] = field(default_factory=dict)
    same: int = 0
    protected: int = 0

    @property
    def total(self) -> int:
        """Number of samples to change."""
        return sum(map(len, self.changes.values()))


def plan_labels(dataset: Dataset, choose: LabelChooser, *, with_labelled: bool) -> LabelPlan:
    """Find the samples that get another label.

    Args:
        dataset: The dataset.
        choose: Chooses the labels.
        with_labelled: Whether labelled samples may get another label.

    Raises:
        DatasetError: The index cannot be read.
        LabelError: The choice is ambiguous.
    """
    plan = LabelPlan()
    changes: defaultdict[str, list[int]] = defaultdict(list)
    for samples in (dataset.unlabelled(), dataset.samples()):
        for sample in samples:
            label = choose(sample)
            if label is None:
                continue
            if label == sample.label:
                plan.same += 1
            elif sample.label and not with_labelled:
                plan.protected += 1
            else:
                changes[label].append(sample.id)
    plan.changes = dict(changes)
    return plan


def apply_plan(
    dataset: Dataset, plan: LabelPlan, on_progress: Callable[[int, int], None]
) -> dict[str, int]:
    """Carry out a plan.

    Args:
        dataset: The dataset.
        plan: The changes.
        on_progress: Called after each batch with the number of samples done and the total.

    Returns:
        Number of changed samples by new label.

    Raises:
        DatasetError: The disk or the index cannot be written.
    """
    changed = dict.fromkeys(sorted(plan.changes), 0)
    done = 0
    for label in changed:
        ids = plan.changes[label]
        for start in range(0, len(ids), _BATCH):
            batch = ids[start : start + _BATCH]
            changed[label] += dataset.relabel(batch, label)
            done += len(batch)
            on_progress(done, plan.total)
    return changed


def parse_ids(text: str) -> list[IdRange]:
    """Read ids and ranges of ids, as "3,7-12".

    Raises:
        LabelError: The text is something else.
    """
    return [_id_range(item) for item in text.split(",")]


class LabelById:
    """Chooses one label for the samples with some ids."""

    description = ""

    def __init__(self, ranges: Iterable[IdRange], label: str) -> None:
        """Set the choice.

        Args:
            ranges: The ids, in any order; ranges may overlap.
            label: The label, in its clean form.
        """
        self._ranges = list(ranges)
        self._label = label
        in_order = sorted(self._ranges)
        self._starts = [item.first for item in in_order]
        # The largest end up to each range, because ranges may overlap.
        self._ends = list(itertools.accumulate((item.last for item in in_order), max))
        self._found: list[int] = []

    def __call__(self, sample: Sample) -> str | None:
        """Return the label for a chosen id."""
        index = bisect.bisect_right(self._starts, sample.id) - 1
        if index < 0 or sample.id > self._ends[index]:
            return None
        self._found.append(sample.id)
        return self._label

    def unmatched(self) -> list[str]:
        """Return the ids and ranges without a sample so far, as the user wrote them."""
        ids = sorted(self._found)
        return [
            str(item)
            for item in self._ranges
            if bisect.bisect_left(ids, item.first) == bisect.bisect_right(ids, item.last)
        ]


@dataclass(frozen=True)
class LabelByTime:
    """Chooses the label of the range, in time since the epoch, that a sample lies in."""

    ranges: LabelRanges
    description: str = ""

    def __call__(self, sample: Sample) -> str | None:
        """Return the label of the sample's topic and time."""
        return self.ranges.at(sample.topic, sample.stamp_ns, 0)

    def unmatched(self) -> list[str]:
        """Return nothing: a range may well lie outside the recordings."""
        return []


def parse_label_stamp(text: str) -> int:
    """Read an absolute time as a label file has it; return ns since the epoch.

    Raises:
        LabelError: The text is no time, or a relative one.
    """
    time = parse_label_time(text)
    if time.is_relative:
        raise LabelError(f"time {text!r} is no time since the epoch; expected seconds or a date")
    return time.time_ns


def choose_by_time(
    start_ns: int | None, end_ns: int | None, topic: str, label: str
) -> LabelByTime:
    """Return a chooser for the samples of a time range.

    Args:
        start_ns: Start in ns since the epoch, inclusive; None: from the first sample on.
        end_ns: End in ns since the epoch, exclusive; None: to the last sample.
        topic: Name of a topic, with any namespace before it; "" for all.
        label: The label, in its clean form.
    """
    start_ns = -STAMP_LIMIT if start_ns is None else start_ns
    end_ns = STAMP_LIMIT if end_ns is None else end_ns
    return LabelByTime(
        LabelRanges([LabelRange(start_ns, end_ns, label, topic.strip().strip("/"))])
    )


def _id_range(text: str) -> IdRange:
    first, dash, last = (part.strip() for part in text.partition("-"))
    ids = [first, last] if dash else [first, first]
    if not all(item.isdecimal() and len(item) < 20 for item in ids) or int(ids[0]) > int(ids[1]):
        raise LabelError(f"ids {text[:40]!r}; expected numbers and ranges, as 3,7-12")
    return IdRange(int(ids[0]), int(ids[1]))
