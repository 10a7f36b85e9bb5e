"""Folders of pictures, with one subfolder for each class."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.capture.labels import clean_label, label_from_folder
from fl_robot_ros.errors import LabelError, SourceError

PICTURE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
)


def list_pictures(folder: Path) -> list[tuple[Path, str]]:
    """List the pictures of a folder, in the order of their names, with their labels.

    Args:
        folder: Pictures, or one folder of pictures for each class, as
            `keras.utils.image_dataset_from_directory` takes it.

    Returns:
        Path and label of each; the label is "" for a picture outside a class folder.

    Raises:
        SourceError: The folder cannot be read, has no picture, or a class folder's name gives no
            label.
    """
    return [(path, class_of(path.relative_to(folder))) for path in find_pictures(folder)]


def find_pictures(folder: Path) -> list[Path]:
    """Return the picture files of a folder and the folders in it, in the order of their names.

    What is hidden, by a name that begins with a dot, is left out.

    Raises:
        SourceError: The folder cannot be read or has no picture.
    """
    try:
        found = [
            path
            for path in sorted(folder.rglob("*"))
            if path.suffix.lower() in PICTURE_SUFFIXES
            and path.is_file()
            and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        ]
    except OSError as error:
        raise SourceError(f"cannot read {folder}: {error.strerror}") from error
    if not found:
        raise SourceError(
            f"there is no picture in {folder}; expected {', '.join(sorted(PICTURE_SUFFIXES))} "
            "files, or class folders of them"
        )
    return found


def read_picture(path: Path) -> NDArray[np.uint8] | None:
    """Read a picture file.

    Returns:
        uint8 (H, W, 3), RGB; None where the file cannot be read as a picture.
    """
    try:
        return decode_picture(path.read_bytes())
    except OSError:
        return None


def decode_picture(data: bytes) -> NDArray[np.uint8] | None:
    """Decode the content of a picture file.

    Returns:
        uint8 (H, W, 3), RGB; None where it cannot be read as a picture.
    """
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except cv2.error:
        return None
    if image is None:
        return None
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def class_of(path: Path) -> str:
    """Return the label of a picture by its path below the source's folder, "" for none.

    Raises:
        SourceError: The class folder's name gives no label.
    """
    if len(path.parts) == 1:
        return ""
    name = path.parts[0]
    try:
        return label_from_folder(name)  # A dataset of this package.
    except LabelError:
        pass
    try:
        return clean_label(name)
    except LabelError as error:
        raise SourceError(f"folder {name!r} gives no label: {error}") from error
