"""Image files: finding them in a folder, and decoding them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.errors import FrameError, SourceError
from fl_robot_ros.images.encoding import find_encoding, high_bits
from fl_robot_ros.images.image_header import PNG_MAGIC, read_image_header
from fl_robot_ros.images.jpeg_layout import JPEG_MAGIC

IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
)
# Image formats that OpenCV does not read on every system.
UNSUPPORTED_SUFFIXES = frozenset((".gif", ".avif", ".heic", ".heif", ".jp2", ".jxl"))
# First bytes of supported formats. TIFF is left out: camera raw files begin like it, and OpenCV
# would read their thumbnail.
_IMAGE_CONTENT = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|RIFF.{4}WEBP|BM.{12}[\x0c-\x7c]\0\0\0|P[1-6]\s+[0-9#]",
    re.DOTALL,
)
_TIFF_CONTENT = re.compile(rb"II\*\0|MM\0\*")
_UNSUPPORTED_CONTENT = re.compile(
    rb"GIF8[79]a|.{4}ftyp(avi[fs]|hei[cfmsx]|he[iv][cms]|mif1)|.{4}jP  |.{4}JXL |\xff\x0a",
    re.DOTALL,
)
_HEAD_BYTES = 32
# Files that operating systems leave in folders.
_SYSTEM_FILES = frozenset(("thumbs.db", "desktop.ini"))
_SYSTEM_FOLDERS = frozenset(("__MACOSX",))


@dataclass
class FolderContent:
    """Content of a folder and its subfolders, ordered by name.

    Attributes:
        images: The image files.
        left_out: Images of unsupported formats, links to folders, and non-files with an image's
            name, each with the reason.
        others: Other files.
    """

    images: list[Path] = field(default_factory=list)
    left_out: list[tuple[Path, str]] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)

    def add(self, path: Path) -> None:
        """Sort a file in by its suffix, or for an unknown suffix by its content."""
        suffix = path.suffix.lower()
        is_file = path.is_file()
        if suffix in IMAGE_SUFFIXES and is_file:
            self.images.append(path)
            return
        head = _read_head(path) if is_file else b""
        if _IMAGE_CONTENT.match(head) or (not suffix and _TIFF_CONTENT.match(head)):
            self.images.append(path)
        elif suffix in UNSUPPORTED_SUFFIXES or _TIFF_CONTENT.match(head):
            self.left_out.append((path, f"{suffix} files are not supported"))
        elif _UNSUPPORTED_CONTENT.match(head):
            self.left_out.append((path, "an image of a format that is not supported"))
        elif suffix in IMAGE_SUFFIXES:
            self.left_out.append((path, "is no file, or a link to nothing"))
        else:
            self.others.append(path)


def search_folder(folder: Path) -> FolderContent:
    """Find the images of a folder and its subfolders.

    Hidden names, which begin with a dot, and files of operating systems (Thumbs.db, __MACOSX) are
    ignored.

    Raises:
        SourceError: A folder cannot be read, or there is no image.
    """
    content = FolderContent()
    try:
        for place, folders, files in os.walk(folder, onerror=_fail_unless_gone):
            folders[:] = [
                name for name in folders if not (name.startswith(".") or name in _SYSTEM_FOLDERS)
            ]
            for link in filter(Path.is_symlink, (Path(place, name) for name in folders)):
                content.left_out.append((link, "is a link to a folder; links are not followed"))
            for name in files:
                if not (name.startswith(".") or name.lower() in _SYSTEM_FILES):
                    content.add(Path(place, name))
    except OSError as error:
        raise SourceError(f"cannot read {error.filename or folder}: {error.strerror}") from error
    for paths in (content.images, content.left_out, content.others):
        paths.sort()
    if not content.images:
        raise SourceError(
            f"there is no image in {folder}; expected {', '.join(sorted(IMAGE_SUFFIXES))} "
            "files, or class folders of them"
        )
    return content


def _read_head(path: Path) -> bytes:
    """Return the first bytes of a file, b"" if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except OSError:
        return b""


def _fail_unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


def read_image(path: Path) -> NDArray[np.uint8] | None:
    """Read an image file.

    Returns:
        uint8 (H, W, 3), RGB; None: the file cannot be read as an image.
    """
    try:
        return decode_image(path.read_bytes())
    except OSError:
        return None


def decode_image(data: bytes) -> NDArray[np.uint8] | None:
    """Decode an image file like capture does, without applying its EXIF orientation.

    Returns:
        uint8 (H, W, 3), RGB; None: it cannot be read as an image, or it is a JPEG or PNG file
        that is cut off or has more pixels than capture takes.
    """
    if data.startswith((JPEG_MAGIC, PNG_MAGIC)):
        try:
            read_image_header(np.frombuffer(data, np.uint8))
        except FrameError:
            return None
    image = _imdecode(data, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR)
    if image is not None and image.ndim == 2 and image.dtype == np.uint16:
        # Depth or thermal: scaled like the same image from a bag.
        return find_encoding("16UC1").to_rgb(image[..., np.newaxis])
    if image is not None and image.ndim == 3 and image.dtype == np.uint16:
        image = high_bits(image)[0][..., :3]
    if image is None or image.ndim != 3 or image.dtype != np.uint8:
        image = _imdecode(data, cv2.IMREAD_COLOR)
    if image is None:
        return None
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _imdecode(data: bytes, flags: int) -> NDArray[Any] | None:
    """Return a file's pixels in OpenCV's order, not rotated by EXIF; None: not decodable."""
    try:
        content = np.frombuffer(data, np.uint8)
        return cv2.imdecode(content, flags | cv2.IMREAD_IGNORE_ORIENTATION) if data else None
    except cv2.error:
        return None
