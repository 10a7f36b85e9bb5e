"""The path of a sample in its dataset: folder by label, file name by stamp and topic."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from fl_robot_ros.capture.new_sample import NewSample
from fl_robot_ros.errors import DatasetError, LabelError
from fl_robot_ros.labels.label_folder import label_folder_name, label_from_folder

# The leading dot hides the review pool from Keras.
REVIEW_NAME = ".review"
# Stamps are 64-bit numbers.
STAMP_LIMIT = 1 << 63

_IMAGE_NAME = re.compile(r"(-?[0-9]{1,19})_([0-9a-f]{8})\.jpg")


class ImageName(NamedTuple):
    """The parts of a sample's file name.

    Attributes:
        stamp_ns: Capture time in ns.
        topic_hash: Eight hexadecimal digits that identify the topic.
    """

    stamp_ns: int
    topic_hash: str


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
    folder = folder_of_label(sample.label)
    return f"{folder}/{sample.stamp_ns}_{hash_topic(sample.topic)}.jpg"


def file_name(path: str) -> str:
    """Return the name of a file, given its path in the dataset or in an export."""
    return path.rpartition("/")[2]


@functools.lru_cache(maxsize=1024)
def hash_topic(topic: str) -> str:
    """Return the eight hexadecimal digits that identify a topic in file names."""
    return hashlib.sha256(topic.encode()).hexdigest()[:8]


def recovered_topic(topic_hash: str) -> str:
    """Return the topic of a sample of which only the file name is left."""
    return f"recovered/{topic_hash}"


def parse_image_name(name: str) -> ImageName | None:
    """Return the parts of a sample's file name, None for any other name."""
    match = _IMAGE_NAME.fullmatch(name)
    if match is None or not -STAMP_LIMIT <= int(match[1]) < STAMP_LIMIT:
        return None
    return ImageName(int(match[1]), match[2])


def folders_of_labels(dataset: Path) -> Iterator[str]:
    """Yield the names of possible folders of labels and of the review pool.

    Raises:
        OSError: The dataset's folder cannot be read.
    """
    for entry in dataset.iterdir():
        with suppress(LabelError):
            if entry.name == REVIEW_NAME or label_from_folder(entry.name):
                yield entry.name


def remove_empty_folders(dataset: Path, names: Iterable[str]) -> None:
    """Remove empty folders of labels, which Keras would take for classes."""
    for name in set(names):
        with suppress(OSError):
            (dataset / name).rmdir()
