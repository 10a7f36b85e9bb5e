"""Picture files as learning data: a snapshot's, or those of a folder of class folders."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.capture.picture_folder import (
    class_of,
    decode_picture,
    read_picture,
    search_folder,
)
from fl_robot_ros.dataset.preprocessing import Preprocessing
from fl_robot_ros.dataset.sample_files import MOVING_NAME
from fl_robot_ros.dataset.snapshot import load_snapshot
from fl_robot_ros.dataset.split_by_class import split_by_class
from fl_robot_ros.errors import DatasetError, SourceError
from fl_robot_ros.learning.training_data import LabelledImages, PictureReader, load_images

_TRAIN_FOLDER = "train"
_HOLDOUT_FOLDERS = ("test", "validation", "val")
_MAX_NAMED = 20

_logger = logging.getLogger(__name__)

LabelledFile = tuple[Path, str]


@dataclass(frozen=True)
class PictureFiles:
    """Image file and label of every picture, on two sides.

    Attributes:
        train: To train on.
        holdout: To evaluate on.
        read_file: Reads a picture of either side.
    """

    train: Sequence[LabelledFile]
    holdout: Sequence[LabelledFile]
    read_file: PictureReader = read_picture

    def load(
        self, classes: Sequence[str], preprocessing: Preprocessing
    ) -> tuple[LabelledImages, LabelledImages]:
        """Return the training and the holdout pictures of a run's classes, for its input."""
        return (
            load_images(self.train, classes, preprocessing, self.read_file),
            load_images(self.holdout, classes, preprocessing, self.read_file),
        )


def open_snapshot(path: Path) -> PictureFiles:
    """Return the files of a snapshot.

    They are read as they were frozen: one that got another label meanwhile is found in that one's
    folder, and one whose content is another now counts as unreadable.

    Raises:
        SnapshotError: The snapshot is missing, unreadable or altered.
    """
    snapshot = load_snapshot(path)
    train, holdout = (
        [(snapshot.image_path(sample), sample.label) for sample in samples]
        for samples in (snapshot.train, snapshot.holdout)
    )
    hashes = {
        snapshot.image_path(sample): sample.sha256
        for sample in (*snapshot.train, *snapshot.holdout)
    }
    return PictureFiles(
        train, holdout, lambda path: _read_frozen(path, hashes[path], snapshot.dataset_dir)
    )


def _read_frozen(path: Path, sha256: str, dataset_dir: Path) -> NDArray[np.uint8] | None:
    """Return the picture of a sample's file, wherever it lies in the dataset now.

    Args:
        path: Where it was.
        sha256: Its hash; "" for a sample stored before there were any.
        dataset_dir: Folder of the dataset.

    Returns:
        uint8 (H, W, 3), RGB; None where it is gone, altered or no picture.
    """
    for place in _places(path, dataset_dir):
        with suppress(OSError):
            content = place.read_bytes()
            if sha256 in ("", hashlib.sha256(content).hexdigest()):
                return decode_picture(content)
    return None


def _places(path: Path, dataset_dir: Path) -> Iterator[Path]:
    """Yield the path, and then files of its name in all folders of the dataset."""
    yield path
    with suppress(OSError):
        # The first is where a file passes through that just gets another label.
        for folder in (dataset_dir / MOVING_NAME, *dataset_dir.iterdir()):
            yield folder / path.name


def open_picture_folder(folder: Path, holdout_fraction: float) -> PictureFiles:
    """Return the files of a folder with one folder for each class.

    A folder `train` of class folders is the training side; a folder `test`, else `validation`
    or `val`, beside it is the holdout. Without the one or the other a share of each class is
    held out.

    Args:
        folder: The dataset.
        holdout_fraction: Share of each class to hold out, above 0 and below 1.

    Raises:
        DatasetError: The folder cannot be read or has no pictures.
    """
    train_folder, holdout_folder = folder, None
    if _has_class_folders(folder / _TRAIN_FOLDER):
        train_folder = folder / _TRAIN_FOLDER
        candidates = (folder / name for name in _HOLDOUT_FOLDERS)
        holdout_folder = next(filter(_has_class_folders, candidates), None)
    train = _labelled_files(train_folder)
    if holdout_folder is not None:
        return PictureFiles(train, _labelled_files(holdout_folder))
    sides = split_by_class(
        [label for _, label in train],
        [str(path.relative_to(train_folder)) for path, _ in train],
        holdout_fraction,
    )
    chosen, held_out = ([train[position] for position in side] for side in sides)
    return PictureFiles(chosen, held_out)


def _has_class_folders(folder: Path) -> bool:
    """Return whether it is a folder of folders."""
    try:
        return folder.is_dir() and any(entry.is_dir() for entry in folder.iterdir())
    except OSError:
        return False


def _labelled_files(folder: Path) -> list[LabelledFile]:
    """Return files and labels; a folder name that is no label becomes one that no run knows.

    What looks like pictures and is left out is named in the log.

    Raises:
        DatasetError: The folder cannot be read or has no pictures.
    """
    try:
        content = search_folder(folder)
    except SourceError as error:
        raise DatasetError(str(error)) from error
    for path, reason in content.left_out[:_MAX_NAMED]:
        _logger.warning("left out: %s: %s", ascii(str(path))[1:-1], reason)
    if len(content.left_out) > _MAX_NAMED:
        _logger.warning("left out: %d more", len(content.left_out) - _MAX_NAMED)
    found: list[LabelledFile] = []
    for path in content.pictures:
        inside = path.relative_to(folder)
        try:
            label = class_of(inside)
        except SourceError:
            label = ascii(inside.parts[0])
        found.append((path, label))
    return found
