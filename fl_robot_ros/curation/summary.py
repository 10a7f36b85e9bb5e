"""A dataset in numbers, for `fl_dataset info`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fl_robot_ros.dataset.dataset_reader import DatasetReader
from fl_robot_ros.dataset.sample import SampleGroup
from fl_robot_ros.labels.label_time import utc_text


@dataclass(frozen=True)
class LabelSummary:
    """The samples of one label.

    Attributes:
        label: The label, "" for none.
        images: Number of samples.
        size_bytes: Size of their files.
        first_ns: Capture time of the oldest, in ns; None without samples.
        last_ns: Capture time of the newest, in ns; None without samples.
        topics: Topics of their cameras, sorted.
    """

    label: str
    images: int = 0
    size_bytes: int = 0
    first_ns: int | None = None
    last_ns: int | None = None
    topics: tuple[str, ...] = ()


@dataclass(frozen=True)
class DatasetSummary:
    """A dataset in numbers.

    Attributes:
        path: Its folder.
        labels: Its labels, sorted by name.
        unlabelled: The review pool.
        free_bytes: Free space on its disk.
        verdicts: Number of frames by verdict since the dataset was created.
    """

    path: str
    labels: tuple[LabelSummary, ...]
    unlabelled: LabelSummary
    free_bytes: int
    verdicts: dict[str, int]

    @property
    def labelled_images(self) -> int:
        """Number of labelled samples."""
        return sum(item.images for item in self.labels)

    @property
    def size_bytes(self) -> int:
        """Size of all files, including the review pool."""
        return sum(item.size_bytes for item in (*self.labels, self.unlabelled))

    def to_json(self) -> dict[str, Any]:
        """Return the summary for JSON, with times in ns and in ISO 8601."""
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
    """Return the summary of a dataset.

    Raises:
        DatasetError: The index or the disk cannot be read.
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
