"""A dataset in numbers: what `fl_dataset info` shows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from fl_robot_ros.dataset.dataset_reader import DatasetReader
from fl_robot_ros.dataset.sample import SampleGroup

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class LabelSummary:
    """The samples of one label.

    Attributes:
        label: The label, "" for none.
        images: How many samples there are.
        size_bytes: Size of their files.
        first_ns: Capture time of the oldest, in ns; None where there is none.
        last_ns: Capture time of the newest, in ns; None where there is none.
        topics: Names of the cameras' topics, sorted.
    """

    label: str
    images: int = 0
    size_bytes: int = 0
    first_ns: int | None = None
    last_ns: int | None = None
    topics: tuple[str, ...] = ()


@dataclass(frozen=True)
class DatasetSummary:
    """A dataset.

    Attributes:
        path: Its folder.
        labels: Its labels, in the order of their names.
        unlabelled: The review pool.
        free_bytes: Room on its disk.
        verdicts: Number of frames by what became of them, since the dataset was made.
    """

    path: str
    labels: tuple[LabelSummary, ...]
    unlabelled: LabelSummary
    free_bytes: int
    verdicts: dict[str, int]

    @property
    def labelled_images(self) -> int:
        """Number of samples that have a label."""
        return sum(item.images for item in self.labels)

    @property
    def size_bytes(self) -> int:
        """Size of all files, those of the review pool among them."""
        return sum(item.size_bytes for item in (*self.labels, self.unlabelled))

    def to_json(self) -> dict[str, Any]:
        """Return the summary as an object for JSON; times are in ns and in ISO 8601."""
        return {
            "path": self.path,
            "labelled_images": self.labelled_images,
            "unlabelled_images": self.unlabelled.images,
            "size_bytes": self.size_bytes,
            "free_bytes": self.free_bytes,
            "labels": [
                {
                    "label": item.label,
                    "share": round(item.images / self.labelled_images, 6),
                    **_json_of(item),
                }
                for item in self.labels
            ],
            "unlabelled": _json_of(self.unlabelled),
            "verdicts": self.verdicts,
        }


def summarize(dataset: DatasetReader) -> DatasetSummary:
    """Return a dataset in numbers.

    Raises:
        DatasetError: The index cannot be read, or the disk is gone.
    """
    groups: dict[str, list[SampleGroup]] = {"": []}
    for group in dataset.groups():
        groups.setdefault(group.label, []).append(group)
    unlabelled = _summary("", groups.pop(""))
    return DatasetSummary(
        path=str(dataset.path),
        labels=tuple(_summary(label, items) for label, items in groups.items()),
        unlabelled=unlabelled,
        free_bytes=dataset.free_bytes(),
        verdicts=dataset.verdicts(),
    )


def utc_text(time_ns: int | None) -> str:
    """Return a time as a label file takes it, 2024-05-01T12:00:07.5Z; "" for None.

    Args:
        time_ns: The time in ns since the epoch, within 64 bits.
    """
    if time_ns is None:
        return ""
    seconds, fraction_ns = divmod(time_ns, 1_000_000_000)
    date = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{fraction_ns:09d}".rstrip("0") if fraction_ns else ""
    return f"{date}{fraction}Z"


def utc_minute(time_ns: int | None) -> str:
    """Return a time to the minute, for people: 2024-05-01 12:00; "" for None."""
    return utc_text(time_ns)[:16].replace("T", " ")


def _summary(label: str, groups: Iterable[SampleGroup]) -> LabelSummary:
    items = list(groups)
    if not items:
        return LabelSummary(label)
    return LabelSummary(
        label=label,
        images=sum(item.samples for item in items),
        size_bytes=sum(item.size_bytes for item in items),
        first_ns=min(item.first_ns for item in items),
        last_ns=max(item.last_ns for item in items),
        topics=tuple(sorted({item.topic for item in items})),
    )


def _json_of(item: LabelSummary) -> dict[str, Any]:
    return {
        "images": item.images,
        "size_bytes": item.size_bytes,
        "first_ns": item.first_ns,
        "last_ns": item.last_ns,
        "first": utc_text(item.first_ns) or None,
        "last": utc_text(item.last_ns) or None,
        "cameras": list(item.topics),
    }
