"""Image files as learning data: a snapshot's, or those of a folder of class folders."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.dataset.sample_files import places_of
from fl_robot_ros.dataset.snapshot import load_snapshot
from fl_robot_ros.errors import DatasetError, SourceError
from fl_robot_ros.images.image_files import decode_image, read_image
from fl_robot_ros.images.preprocessing import Preprocessing
from fl_robot_ros.labels.folder_layout import TEST, TRAIN, VALIDATION
from fl_robot_ros.labels.image_folder import FolderImage, read_image_folder
from fl_robot_ros.learning.split_by_class import split_by_class
from fl_robot_ros.learning.training_data import (
    ImageReader,
    LabelledImages,
    Wait,
    load_images,
    no_wait,
)

_logger = logging.getLogger(__name__)

LabelledFile = tuple[Path, str]


@dataclass(frozen=True)
class ImageFiles:
    """Image file and label of every image, on two sides.

    Attributes:
        train: To train on.
        holdout: To evaluate on.
        read_file: Reads an image of either side.
    """

    train: Sequence[LabelledFile]
    holdout: Sequence[LabelledFile]
    read_file: ImageReader = read_image

    def load(
        self, classes: Sequence[str], preprocessing: Preprocessing, wait: Wait = no_wait
    ) -> tuple[LabelledImages, LabelledImages]:
        """Return the training and the holdout images of a run's classes, for its input."""
        return (
            load_images(self.train, classes, preprocessing, self.read_file, wait),
            load_images(self.holdout, classes, preprocessing, self.read_file, wait),
        )


def open_snapshot(path: Path) -> ImageFiles:
    """Return the files of a snapshot.

    Every image keeps its frozen label, even with another one in the dataset now. An image whose
    content has changed counts as unreadable.

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
    return ImageFiles(
        train, holdout, lambda path: _read_frozen(path, hashes[path], snapshot.dataset_dir)
    )


def _read_frozen(path: Path, sha256: str, dataset_dir: Path) -> NDArray[np.uint8] | None:
    """Return the image of a sample, wherever its file lies in the dataset now.

    Args:
        path: Where the file was when the snapshot was frozen.
        sha256: Hash of the file; "" for a sample of an old dataset without hashes.
        dataset_dir: Folder of the dataset.

    Returns:
        uint8 (H, W, 3), RGB; None for a file that is gone, altered or not an image.
    """
    for place in places_of(dataset_dir, path):
        with suppress(OSError):
            content = place.read_bytes()
            if sha256 in ("", hashlib.sha256(content).hexdigest()):
                return decode_image(content)
    return None


def open_image_folder(folder: Path, holdout_fraction: float) -> ImageFiles:
    """Return the files of a folder with labels as `read_image_folder` finds them.

    The training side is the split for training. The holdout is the split for testing, else the one
    for validation. Without both sides a share of each class is held out. The log tells how the
    folder was read and what was left out.

    Args:
        folder: The dataset.
        holdout_fraction: Share of each class to hold out, above 0 and below 1.

    Raises:
        DatasetError: The folder cannot be read, has no labelled images, or its labels are
            ambiguous.
    """
    try:
        found = read_image_folder(folder)
    except SourceError as error:
        raise DatasetError(str(error)) from error
    labelled = [(image, _label(image)) for image in found.images]
    if not any(label for _, label in labelled):
        raise DatasetError(
            f"no image in {folder} has a label; expected class folders, in split folders or not, "
            f"or a metadata.csv or _classes.csv with labels; {'; '.join(found.remarks)}"
        )
    for line in found.remarks:
        _logger.info("%s: %s", folder, _shown(line))
    for line in found.left_out_lines():
        _logger.warning("%s: left out: %s", folder, _shown(line))
    splits = {image.split for image in found.images}
    held_out_split = next((split for split in (TEST, VALIDATION) if split in splits), "")
    if TRAIN in splits and held_out_split:
        sides = {
            split: [(image.path, label) for image, label in labelled if image.split == split]
            for split in (TRAIN, held_out_split)
        }
        unused = len(labelled) - sum(map(len, sides.values()))
        if unused:
            _logger.warning(
                "%s: %d images are not used: their split is neither %s nor %s",
                folder,
                unused,
                TRAIN,
                held_out_split,
            )
        return ImageFiles(sides[TRAIN], sides[held_out_split])
    files = [(image.path, label) for image, label in labelled]
    chosen, held_out = split_by_class(
        [label for _, label in files],
        [str(path.relative_to(folder)) for path, _ in files],
        holdout_fraction,
    )
    return ImageFiles(
        [files[position] for position in chosen], [files[position] for position in held_out]
    )


def _label(image: FolderImage) -> str:
    """Return an image's label; an invalid folder name becomes a label that no run has."""
    try:
        return image.label
    except SourceError:
        return ascii(image.class_name)


def _shown(text: str) -> str:
    """Return a line with file names in printable ASCII."""
    return ascii(text)[1:-1]
