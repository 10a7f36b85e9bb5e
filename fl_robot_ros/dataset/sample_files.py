"""The dataset's files, moved so that the index always knows where each one belongs.

Every file that comes, goes or changes its folder passes through the folder `.moving`: a file that
lies there after a crash belongs at the path that its row in the index names, and is rubbish
without a row. So a crash costs nothing, and what is to be repaired is found without looking
through the whole dataset. Files and index change together, under a lock that one process has at a
time.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from fl_robot_ros.dataset.dataset_lock import LOCK_NAME, WRITE_LOCK_NAME
from fl_robot_ros.dataset.sample_paths import file_name, parse_image_name
from fl_robot_ros.labels.folder_layout import INDEX_NAME

MOVING_NAME = ".moving"

# Threads that write a large batch: while one waits for the disk the others go on.
_WRITERS = 3
# Files that are worth a thread, and files that one has open at a time.
_MIN_SHARE = 16
_OPEN_FILES = 64
_OWN_NAMES = frozenset(
    [INDEX_NAME, LOCK_NAME, WRITE_LOCK_NAME]
    + [f"{INDEX_NAME}{suffix}" for suffix in ("-wal", "-shm", "-journal")]
)


@dataclass
class FoundFiles:
    """The files in a dataset's folder, as paths relative to it.

    Attributes:
        images: Files with an image's name.
        foreign: Number of all other files, links and folders within label folders.
    """

    images: set[str] = field(default_factory=set)
    foreign: int = 0


def places_of(dataset_dir: Path, path: Path) -> Iterator[Path]:
    """Yield where a sample's image may lie after it got another label: files of its name.

    Args:
        dataset_dir: Folder of the dataset.
        path: Absolute path of the image under its old label.
    """
    yield path
    with suppress(OSError):
        # A file that gets its label just now lies in the first of these.
        for folder in (dataset_dir / MOVING_NAME, *dataset_dir.iterdir()):
            yield folder / path.name


def has_dataset(folder: Path) -> bool:
    """Say whether a folder holds a dataset, be it one that lost its index.

    Raises:
        OSError: The folder cannot be read.
    """
    return (folder / INDEX_NAME).exists() or (folder.is_dir() and bool(find_files(folder).images))


def find_files(folder: Path) -> FoundFiles:
    """Return what lies in a dataset's folder; links are not followed.

    Raises:
        OSError: A folder cannot be read.
    """
    found = FoundFiles()
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.name != MOVING_NAME:
                    _find_in_label_folder(entry.path, entry.name, found)
            elif entry.name not in _OWN_NAMES:
                found.foreign += 1
    return found


def _find_in_label_folder(path: str, name: str, found: FoundFiles) -> None:
    try:
        entries = os.scandir(path)
    except PermissionError:
        # Such as the lost+found of a disk.
        found.foreign += 1
        return
    with entries:
        for entry in entries:
            if _is_image(entry):
                found.images.add(f"{name}/{entry.name}")
            else:
                found.foreign += 1


def _is_image(entry: os.DirEntry[str]) -> bool:
    return entry.is_file(follow_symlinks=False) and parse_image_name(entry.name) is not None


class MovingFolder:
    """The folder that every file of a dataset passes through."""

    def __init__(self, folder: Path) -> None:
        """Make it where it is not there.

        Args:
            folder: The dataset's folder.

        Raises:
            OSError: It cannot be made, or something else has its name.
        """
        self._moving = folder / MOVING_NAME
        # Texts: to put paths together takes as long as to open a file.
        self._from = f"{self._moving}/"
        self._to = f"{folder}/"
        make_folder(self._moving)

    def write(self, contents: Mapping[str, bytes]) -> None:
        """Write new files here, safe on disk.

        Args:
            contents: Content by the path that the file is to have in the dataset.

        Raises:
            OSError: The disk is full or unwritable; nothing is left behind.
        """
        items = list(contents.items())
        share = min(_OPEN_FILES, max(_MIN_SHARE, -(-len(items) // _WRITERS)))
        parts = [items[start : start + share] for start in range(0, len(items), share)]
        try:
            if len(parts) == 1:
                self._write_synced(parts[0])
            else:
                # Waits for all of them, also where one fails.
                with ThreadPoolExecutor(_WRITERS, "writer") as writers:
                    list(writers.map(self._write_synced, parts))
            _sync_folder(self._moving)
        except BaseException:
            self.discard(contents)
            raise

    def withdraw(self, paths: Iterable[str]) -> None:
        """Move files of the dataset here; those that are gone are left out.

        Raises:
            OSError: A file cannot be moved.
        """
        for path in paths:
            with suppress(FileNotFoundError):
                os.rename(self._to + path, self._here(path))
        _sync_folder(self._moving)

    def place(self, paths: Iterable[str]) -> None:
        """Move files from here to their paths in the dataset, whose folders must exist.

        Raises:
            OSError: A file cannot be moved.
        """
        for path in paths:
            with suppress(FileNotFoundError):
                os.rename(self._here(path), self._to + path)

    def discard(self, paths: Iterable[str]) -> None:
        """Remove files from here; what cannot be removed now, the next start finds."""
        for path in paths:
            with suppress(OSError):
                os.unlink(self._here(path))

    def names(self) -> list[str]:
        """Return the names of the images here; others do not belong to the dataset.

        Raises:
            OSError: The folder cannot be read.
        """
        with os.scandir(self._moving) as entries:
            return [item.name for item in entries if _is_image(item)]

    def _here(self, path: str) -> str:
        return self._from + file_name(path)

    def _write_synced(self, items: Sequence[tuple[str, bytes]]) -> None:
        """Write files, and sync them when the disk is at work on all of them: twice as fast."""
        descriptors: list[int] = []
        try:
            for path, content in items:
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
                descriptors.append(os.open(self._here(path), flags, 0o644))
                _write_all(descriptors[-1], content)
            for descriptor in descriptors:
                # Linux begins to write to the disk at that, without waiting for it.
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            for descriptor in descriptors:
                os.fsync(descriptor)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)


def make_folder(path: Path) -> None:
    """Make a folder, safe on disk, where it is not there.

    Raises:
        OSError: It cannot be made, or it is a link, which could lead anywhere.
    """
    try:
        path.mkdir()
    except FileExistsError:
        if path.is_symlink() or not path.is_dir():
            raise
        return
    _sync_folder(path.parent)


def _write_all(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
