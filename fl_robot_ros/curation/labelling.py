"""Labels given afterwards: the plan of what changes, and samples chosen by number or by time."""

from __future__ import annotations

import bisect
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from fl_robot_ros.dataset.dataset import Dataset
from fl_robot_ros.dataset.sample import Sample
from fl_robot_ros.dataset.sample_paths import STAMP_LIMIT
from fl_robot_ros.errors import LabelError
from fl_robot_ros.labels.label_file import LabelRange
from fl_robot_ros.labels.label_ranges import LabelRanges
from fl_robot_ros.labels.label_time import parse_label_time

# Returns the label that a sample is to have, None where that is not said.
LabelChooser = Callable[[Sample], "str | None"]

# Samples that change their label in one transaction, during which nobody else can write.
_BATCH = 500


class IdRange(NamedTuple):
    """Ids of samples from the first to the last, inclusive."""

    first: int
    last: int

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


@dataclass
class LabelPlan:
    """What will change.

    Attributes:
        changes: Ids of samples by the label that they are to have.
        same: Samples that have that label already.
        protected: Samples with another label, which are left alone.
    """

    changes: dict[str, list[int]] = field(default_factory=dict)
    same: int = 0
    protected: int = 0

    @property
    def total(self) -> int:
        """Number of samples that will change."""
        return sum(map(len, self.changes.values()))


def plan_labels(dataset: Dataset, choose: LabelChooser, *, with_labelled: bool) -> LabelPlan:
    """Find the samples that are to get another label.

    Args:
        dataset: The dataset.
        choose: Says which label a sample is to have.
        with_labelled: Whether samples that have a label may get another.

    Raises:
        DatasetError: The index cannot be read.
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
    dataset: Dataset, plan: LabelPlan, on_samples: Callable[[int, int], None]
) -> dict[str, int]:
    """Give the samples of a plan their labels.

    Args:
        dataset: The dataset.
        plan: What to change.
        on_samples: Called now and then with the number of samples done and of all.

    Returns:
        Number of samples that changed, by their new label.

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
            on_samples(done, plan.total)
    return changed


def parse_ids(text: str) -> list[IdRange]:
    """Read ids and ranges of them, as "3,7-12".

    Raises:
        LabelError: The text is something else.
    """
    return [_id_range(item) for item in text.split(",")]


def choose_by_id(ranges: Iterable[IdRange], label: str) -> LabelChooser:
    """Return a chooser for the samples with some ids.

    Args:
        ranges: The ids, in any order; ranges may overlap.
        label: Their clean label.
    """
    in_order = sorted(ranges)
    starts = [item.first for item in in_order]
    # The largest end up to each range, because they may overlap.
    ends = list(itertools.accumulate((item.last for item in in_order), max))

    def choose(sample: Sample) -> str | None:
        index = bisect.bisect_right(starts, sample.id) - 1
        return label if index >= 0 and sample.id <= ends[index] else None

    return choose


def ids_without_sample(dataset: Dataset, ranges: Iterable[IdRange]) -> list[str]:
    """Return those of the ids and ranges in which there is no sample, as they are written.

    Raises:
        DatasetError: The index cannot be read.
    """
    ids = sorted(sample.id for sample in dataset.samples() + dataset.unlabelled())
    return [
        str(item)
        for item in ranges
        if bisect.bisect_left(ids, item.first) == bisect.bisect_right(ids, item.last)
    ]


def parse_label_stamp(text: str) -> int:
    """Read a time as in a label file, but not a relative one; return ns since the epoch.

    Raises:
        LabelError: It is something else.
    """
    time = parse_label_time(text)
    if time.is_relative:
        raise LabelError(f"time {text!r} is no time since the epoch; expected seconds or a date")
    return time.time_ns


def choose_by_time(
    start_ns: int | None, end_ns: int | None, topic: str, label: str
) -> LabelChooser:
    """Return a chooser for the samples of a stretch of time.

    Args:
        start_ns: Its beginning in ns since the epoch, inclusive; None: from the first sample on.
        end_ns: Its end in ns since the epoch, exclusive; None: to the last sample.
        topic: Name of a topic, with any namespace before it; "" for all.
        label: Their clean label.
    """
    start_ns = -STAMP_LIMIT if start_ns is None else start_ns
    end_ns = STAMP_LIMIT if end_ns is None else end_ns
    return choose_by_ranges(
        LabelRanges([LabelRange(start_ns, end_ns, label, topic.strip().strip("/"))])
    )


def choose_by_ranges(ranges: LabelRanges) -> LabelChooser:
    """Return a chooser for times since the epoch."""
    return lambda sample: ranges.at(sample.topic, sample.stamp_ns, 0)


def _id_range(text: str) -> IdRange:
    first, dash, last = (part.strip() for part in text.partition("-"))
    ids = [first, last] if dash else [first, first]
    if not all(item.isdecimal() and len(item) < 20 for item in ids) or int(ids[0]) > int(ids[1]):
        raise LabelError(f"ids {text[:40]!r}; expected numbers and ranges, as 3,7-12")
    return IdRange(int(ids[0]), int(ids[1]))
