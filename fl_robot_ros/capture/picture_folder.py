"""Folders of pictures, with one subfolder for each class."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.capture.encoding import find_encoding, high_bits
from fl_robot_ros.capture.jpeg_layout import JPEG_MAGIC
from fl_robot_ros.capture.labels import clean_label, label_from_folder
from fl_robot_ros.capture.picture_header import PNG_MAGIC, read_picture_header
from fl_robot_ros.errors import FrameError, LabelError, SourceError

PICTURE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
)
# Pictures too, that OpenCV does not read everywhere.
UNSUPPORTED_SUFFIXES = frozenset((".gif", ".avif", ".heic", ".heif", ".jp2", ".jxl"))


@dataclass
class FolderContent:
    """What lies in a folder and the folders in it, in the order of the names.

    Attributes:
        pictures: The picture files.
        left_out: Pictures of formats that are not supported, links to folders, and what has a
            picture's name and is no file, each with the reason.
    """

    pictures: list[Path] = field(default_factory=list)
    left_out: list[tuple[Path, str]] = field(default_factory=list)


def list_pictures(folder: Path) -> list[tuple[Path, str]]:
    """List the pictures of a folder, in the order of their names, with their labels.

    Args:
        folder: Pictures, or one folder of pictures for each class, as
            `keras.utils.image_dataset_from_directory` takes it.

    Returns:
        Path and label of each; the label is "" for a picture outside a class folder.

    Raises:
        SourceError: The folder or one in it cannot be read, there is no picture, or a class
            folder's name gives no label.
    """
    return [(path, class_of(path.relative_to(folder))) for path in find_pictures(folder)]


def find_pictures(folder: Path) -> list[Path]:
    """Return the picture files of a folder and the folders in it, in the order of their names.

    What is hidden, by a name that begins with a dot, is left out.

    Raises:
        SourceError: The folder or one in it cannot be read, or there is no picture.
    """
    return search_folder(folder).pictures


def search_folder(folder: Path) -> FolderContent:
    """Find the pictures of a folder as `find_pictures` does, and what is left out.

    Raises:
        SourceError: The folder or one in it cannot be read, or there is no picture.
    """
    content = FolderContent()
    try:
        for place, folders, files in os.walk(folder, onerror=_fail_unless_gone):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for link in filter(Path.is_symlink, (Path(place, name) for name in folders)):
                content.left_out.append((link, "is a link to a folder; links are not followed"))
            for path in (Path(place, name) for name in files if not name.startswith(".")):
                suffix = path.suffix.lower()
                if suffix in UNSUPPORTED_SUFFIXES:
                    content.left_out.append((path, f"{suffix} files are not supported"))
                elif suffix in PICTURE_SUFFIXES and path.is_file():
                    content.pictures.append(path)
                elif suffix in PICTURE_SUFFIXES:
                    content.left_out.append((path, "is no file, or a link to nothing"))
    except OSError as error:
        raise SourceError(f"cannot read {error.filename or folder}: {error.strerror}") from error
    content.pictures.sort()
    content.left_out.sort()
    if not content.pictures:
        raise SourceError(
            f"there is no picture in {folder}; expected {', '.join(sorted(PICTURE_SUFFIXES))} "
            "files, or class folders of them"
        )
    return content


def _fail_unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


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
    """Decode the content of a picture file, its pixels as they lie, as capture does.

    Returns:
        uint8 (H, W, 3), RGB; None where it cannot be read as a picture, and for a JPEG or PNG
        file that is cut off or has more pixels than capture takes.
    """
    if data.startswith((JPEG_MAGIC, PNG_MAGIC)):
        try:
            read_picture_header(np.frombuffer(data, np.uint8))
        except FrameError:
            return None
    picture = _imdecode(data, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR)
    if picture is not None and picture.ndim == 2 and picture.dtype == np.uint16:
        # Depth or thermal: capture spreads the range of the same picture from a bag.
        return find_encoding("16UC1").to_rgb(picture[..., np.newaxis])
    if picture is not None and picture.ndim == 3 and picture.dtype == np.uint16:
        picture = high_bits(picture)[0][..., :3]
    if picture is None or picture.ndim != 3 or picture.dtype != np.uint8:
        picture = _imdecode(data, cv2.IMREAD_COLOR)
    if picture is None:
        return None
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _imdecode(data: bytes, flags: int) -> NDArray[Any] | None:
    """Return a file's pixels in OpenCV's order as they lie, whatever EXIF says of turning them."""
    try:
        content = np.frombuffer(data, np.uint8)
        return cv2.imdecode(content, flags | cv2.IMREAD_IGNORE_ORIENTATION) if data else None
    except cv2.error:
        return None


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
