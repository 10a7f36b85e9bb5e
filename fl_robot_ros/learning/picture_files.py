"""Picture files as learning data: a snapshot's, or those of a folder of class folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fl_robot_ros.capture.picture_folder import class_of, find_pictures
from fl_robot_ros.dataset.preprocessing import Preprocessing
from fl_robot_ros.dataset.snapshot import load_snapshot
from fl_robot_ros.dataset.split_by_class import split_by_class
from fl_robot_ros.errors import DatasetError, SourceError
from fl_robot_ros.learning.training_data import LabelledImages, load_images

_TRAIN_FOLDER = "train"
_HOLDOUT_FOLDERS = ("test", "validation", "val")

LabelledFile = tuple[Path, str]


@dataclass(frozen=True)
class PictureFiles:
    """Image file and label of every picture, on two sides.

    Attributes:
        train: To train on.
        holdout: To evaluate on.
    """

    train: Sequence[LabelledFile]
    holdout: Sequence[LabelledFile]

    def load(
        self, classes: Sequence[str], preprocessing: Preprocessing
    ) -> tuple[LabelledImages, LabelledImages]:
        """Return the training and the holdout pictures of a run's classes, for its input."""
        return (
            load_images(self.train, classes, preprocessing),
            load_images(self.holdout, classes, preprocessing),
        )


def open_snapshot(path: Path) -> PictureFiles:
    """Return the files of a snapshot.

    Raises:
        SnapshotError: The snapshot is missing, unreadable or altered.
    """
    snapshot = load_snapshot(path)
    train, holdout = (
        [(snapshot.image_path(sample), sample.label) for sample in samples]
        for samples in (snapshot.train, snapshot.holdout)
    )
    return PictureFiles(train, holdout)


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
    return PictureFiles(*([train[position] for position in side] for side in sides))


def _has_class_folders(folder: Path) -> bool:
    """Return whether it is a folder of folders."""
    try:
        return folder.is_dir() and any(entry.is_dir() for entry in folder.iterdir())
    except OSError:
        return False


def _labelled_files(folder: Path) -> list[LabelledFile]:
    """Return files and labels; a folder name that is no label becomes one that no run knows.

    Raises:
        DatasetError: The folder cannot be read or has no pictures.
    """
    try:
        paths = find_pictures(folder)
    except SourceError as error:
        raise DatasetError(str(error)) from error
    found: list[LabelledFile] = []
    for path in paths:
        inside = path.relative_to(folder)
        try:
            label = class_of(inside)
        except SourceError:
            label = ascii(inside.parts[0])
        found.append((path, label))
    return found
