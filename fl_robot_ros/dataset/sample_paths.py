"""Where a sample lies in its dataset: in a folder of its label, or of the review pool."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from fl_robot_ros.capture.labels import label_folder_name, label_from_folder
from fl_robot_ros.capture.new_sample import NewSample
from fl_robot_ros.dataset.sample_files import REVIEW_NAME, STAMP_LIMIT, image_name
from fl_robot_ros.errors import DatasetError, LabelError


def folder_of_label(label: str) -> str:
    """Return the name of the folder for a label, "" for none."""
    return label_folder_name(label) if label else REVIEW_NAME


def path_of_sample(sample: NewSample) -> str:
    """Return a sample's path in the dataset: folder of the label, stamp, hash of the topic.

    Raises:
        DatasetError: The stamp has more than 64 bits.
    """
    if not -STAMP_LIMIT <= sample.stamp_ns < STAMP_LIMIT:
        raise DatasetError(f"a sample has the stamp {sample.stamp_ns} ns; expected 64 bits")
    return f"{folder_of_label(sample.label)}/{image_name(sample.topic, sample.stamp_ns)}"


def folders_of_labels(dataset: Path) -> Iterator[str]:
    """Yield the names of what may be folders of labels, or of the review pool.

    Raises:
        OSError: The dataset's folder cannot be read.
    """
    for entry in dataset.iterdir():
        with suppress(LabelError):
            if entry.name == REVIEW_NAME or label_from_folder(entry.name):
                yield entry.name


def remove_empty_folders(dataset: Path, names: Iterable[str]) -> None:
    """Remove the folders of labels that are empty: Keras would take each for a class."""
    for name in set(names):
        with suppress(OSError):
            (dataset / name).rmdir()
