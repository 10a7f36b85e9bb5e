"""Labels given afterwards: to samples by number, by file, by time, or by their copies' folder."""

from __future__ import annotations

import bisect
import csv
import io
import itertools
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from fl_robot_ros.capture.label_file import LabelRange, read_label_text
from fl_robot_ros.capture.label_ranges import LabelRanges
from fl_robot_ros.capture.label_time import parse_label_time
from fl_robot_ros.capture.labels import clean_label
from fl_robot_ros.capture.picture_folder import list_pictures
from fl_robot_ros.dataset.listed_labels import ListedLabels
from fl_robot_ros.dataset.picture_import import UNLABELLED_NAME
from fl_robot_ros.dataset.sample import Sample
from fl_robot_ros.dataset.sample_paths import STAMP_LIMIT, file_name, parse_image_name
from fl_robot_ros.dataset.store import Dataset
from fl_robot_ros.errors import LabelError

# Returns the label that a sample is to have, None where that is not said.
LabelChooser = Callable[[Sample], "str | None"]

# Samples that change their label in one transaction, during which nobody else can write.
_BATCH = 500
_SHA256 = re.compile("[0-9a-f]{64}")


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
    return _choose_by_ranges(
        LabelRanges([LabelRange(start_ns, end_ns, label, topic.strip().strip("/"))])
    )


def choose_by_csv(path: Path) -> LabelChooser:
    """Return a chooser for what a CSV file says.

    Its columns are path, sha256 and label, as in an export's samples.csv: a row is for the sample
    whose file has that name and that content, whatever its id. Or they are id and label. Other
    columns are left alone. Or it is a label file, with start, end, label and, if need be, topic.

    Raises:
        LabelError: The file is neither, or its times are not since the epoch.
    """
    try:
        choose = _choose_by_rows(read_label_text(path))
    except LabelError as error:
        raise LabelError(f"label file {path}: {error}") from error
    if choose is not None:
        return choose
    ranges = LabelRanges.load(path)
    if ranges.is_relative:
        raise LabelError(
            f"label file {path}: its times count from the beginning of a recording; expected "
            f"times since the epoch, or dates"
        )
    return _choose_by_ranges(ranges)


def choose_by_folder(folder: Path) -> LabelChooser:
    """Return a chooser for what the class folders say that copies of the samples lie in.

    Args:
        folder: Class folders with files as an export names them; what lies in none of them, or in
            "unlabelled", says nothing.

    Raises:
        SourceError: The folder cannot be read, has no picture, or a class folder's name gives no
            label.
        LabelError: A file lies in two class folders, or none has the name of a sample's file.
    """
    labels: dict[object, str] = {}
    places: dict[object, str] = {}
    is_known = False
    for path, label in list_pictures(folder):
        if parse_image_name(path.name) is None:
            continue
        is_known = True
        if label in ("", UNLABELLED_NAME):
            continue
        if labels.setdefault(path.name, label) != label:
            raise LabelError(
                f"{path.name} lies in the folders of {labels[path.name]!r} and {label!r}; leave "
                f"it in one of them"
            )
        places.setdefault(path.name, str(path.relative_to(folder)))
    if not is_known:
        raise LabelError(
            f"{folder} has no file with a name of the dataset's, such as "
            f"1714564800250000000_0123abcd.jpg; expected an export, sorted into class folders"
        )
    return ListedLabels(labels, places, lambda sample: file_name(sample.path))


def _choose_by_ranges(ranges: LabelRanges) -> LabelChooser:
    return lambda sample: ranges.at(sample.topic, sample.stamp_ns, 0)


def _id_range(text: str) -> IdRange:
    first, dash, last = (part.strip() for part in text.partition("-"))
    ids = [first, last] if dash else [first, first]
    if not all(item.isdecimal() and len(item) < 20 for item in ids) or int(ids[0]) > int(ids[1]):
        raise LabelError(f"ids {text[:40]!r}; expected numbers and ranges, as 3,7-12")
    return IdRange(int(ids[0]), int(ids[1]))


def _choose_by_rows(text: str) -> LabelChooser | None:
    """Return a chooser by file or by id, None where the text has the columns of neither."""
    labels: dict[object, str] = {}
    places: dict[object, str] = {}
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        columns = [name.strip().lower() for name in reader.fieldnames or ()]
        # Ids are those of one dataset; the same ones mean other pictures in another.
        is_by_file = "sha256" in columns
        if not is_by_file and "id" not in columns:
            if len(columns) == 1 and re.search("[;\t]", columns[0]):
                raise LabelError(f"the header is {columns[0][:80]!r}; save it with commas between")
            return None
        reader.fieldnames = columns
        _check_columns(columns, ["path", "sha256", "label"] if is_by_file else ["id", "label"])
        for row in reader:
            if not any(cell.strip() for cell in row.values() if isinstance(cell, str)):
                continue  # A spreadsheet may leave a row of empty cells.
            keys = (
                _file_keys(row, reader.line_num) if is_by_file else _id_keys(row, reader.line_num)
            )
            _add_label(labels, keys, row["label"], reader.line_num)
            name = (row["path"] if is_by_file else f"id {row['id']}") or ""
            place = f"line {reader.line_num}: {name.strip()}"
            for key in keys:
                places.setdefault(key, place)
    except csv.Error as error:
        raise LabelError(f"line {reader.line_num}: is not CSV ({error})") from error
    if is_by_file:
        return ListedLabels(labels, places, lambda item: (file_name(item.path), item.sha256))
    return ListedLabels(labels, places, lambda sample: sample.id)


def _check_columns(columns: Iterable[str], expected: Sequence[str]) -> None:
    if sorted(name for name in columns if name in expected) != sorted(expected):
        raise LabelError(
            f"the header is {','.join(columns)[:80]!r}; expected {','.join(expected)}"
        )


def _id_keys(row: Mapping[str, str | None], line: int) -> list[object]:
    number = (row["id"] or "").strip()
    if not number.isdecimal() or len(number) > 19:
        raise LabelError(
            f"line {line}: id {number[:40]!r}; expected a sample's number and a label"
        )
    return [int(number)]


def _file_keys(row: Mapping[str, str | None], line: int) -> list[object]:
    """Return a file's name with its hash, and without one for samples stored before there was."""
    name = _listed_name((row["path"] or "").strip())
    sha256 = (row["sha256"] or "").strip().lower()
    if not name or not _SHA256.fullmatch(sha256):
        raise LabelError(
            f"line {line}: path {name[:40]!r} with sha256 {sha256[:40]!r}; expected both as an "
            f"export writes them"
        )
    return [(name, sha256), (name, "")]


def _add_label(
    labels: dict[object, str], keys: Iterable[object], label: str | None, line: int
) -> None:
    if label is None:
        raise LabelError(f"line {line}: has no label")
    try:
        clean = clean_label(label)
    except LabelError as error:
        raise LabelError(f"line {line}: {error}") from error
    for key in keys:
        if labels.setdefault(key, clean) != clean:
            raise LabelError(f"line {line}: what it names has the label {labels[key]!r} already")


def _listed_name(path: str) -> str:
    """Return the last part of a path; that of a list may come from Windows."""
    return path.replace("\\", "/").rpartition("/")[2]
