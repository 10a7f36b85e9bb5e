"""The dataset's files, moved so that a crash at any instant leaves nothing lost or misplaced.

Every new, removed or relabelled file passes through the folder `.staging`. After a crash, a file
there belongs at the path of its row in the index, and is rubbish without a row; so recovery looks
at one folder only. Files and index change together, under a lock that one process holds at a
time.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from fl_robot_ros.atomic_file import sync
from fl_robot_ros.dataset.sample_paths import file_name, parse_image_name
from fl_robot_ros.labels.folder_layout import INDEX_NAME

STAGING_NAME = ".staging"
# Shared by all processes that have the dataset open; exclusive for the one that writes.
LOCK_NAME = ".lock"
WRITE_LOCK_NAME = ".write_lock"

# The staging folder of earlier versions.
_OLD_STAGING_NAME = ".moving"
# Threads that write a large batch: while one waits for the disk, the others continue.
_WRITERS = 3
# Least files for a thread of its own, and most files that a thread has open at a time.
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
        images: Files with the name of a sample.
        foreign: Number of other files, and of links and folders within label folders.
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
        for folder in (dataset_dir / STAGING_NAME, *dataset_dir.iterdir()):
            yield folder / path.name


def has_dataset(folder: Path) -> bool:
    """Say whether a folder holds a dataset, even one without its index.

    Raises:
        OSError: The folder cannot be read.
    """
    return (folder / INDEX_NAME).exists() or (folder.is_dir() and bool(find_files(folder).images))


def find_files(folder: Path) -> FoundFiles:
    """Return the files in a dataset's folder; links are not followed.

    Raises:
        OSError: A folder cannot be read.
    """
    found = FoundFiles()
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in (STAGING_NAME, _OLD_STAGING_NAME):
                    _find_in_label_folder(entry.path, entry.name, found)
            elif entry.name not in _OWN_NAMES:
                found.foreign += 1
    return found


def _find_in_label_folder(path: str, name: str, found: FoundFiles) -> None:
    try:
        entries = os.scandir(path)
    except PermissionError:
        # For example lost+found.
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


class StagingFolder:
    """Owns the folder that every file of a dataset passes through."""

    def __init__(self, folder: Path) -> None:
        """Create the staging folder if need be; the caller holds the write lock.

        Args:
            folder: The dataset's folder.

        Raises:
            OSError: The staging folder cannot be created, or its name belongs to another file.
        """
        self._folder = folder / STAGING_NAME
        # Text, because joining paths takes as long as opening a file.
        self._from = f"{self._folder}/"
        self._to = f"{folder}/"
        make_folder(self._folder)
        old = folder / _OLD_STAGING_NAME
        if old.is_dir() and not old.is_symlink():
            for path in old.iterdir():
                path.rename(self._folder / path.name)
            old.rmdir()

    def write(self, contents: Mapping[str, bytes]) -> None:
        """Write new files here, synced to the disk.

        Args:
            contents: Content by the file's later path in the dataset.

        Raises:
            OSError: The disk is full or cannot be written; nothing is left behind.
        """
        items = list(contents.items())
        share = min(_OPEN_FILES, max(_MIN_SHARE, -(-len(items) // _WRITERS)))
        parts = [items[start : start + share] for start in range(0, len(items), share)]
        try:
            if len(parts) == 1:
                self._write_synced(parts[0])
            else:
                # Leaving the block waits for all writers, also after an error of one.
                with ThreadPoolExecutor(_WRITERS, "writer") as writers:
                    list(writers.map(self._write_synced, parts))
            sync(self._folder)
        except BaseException:
            self.discard(contents)
            raise

    def withdraw(self, paths: Iterable[str]) -> None:
        """Move files of the dataset here; missing ones are passed over.

        Raises:
            OSError: A file cannot be moved.
        """
        for path in paths:
            with suppress(FileNotFoundError):
                os.rename(self._to + path, self._here(path))
        sync(self._folder)

    def place(self, paths: Iterable[str]) -> None:
        """Move files from here to their paths in the dataset; the label folders must exist.

        Raises:
            OSError: A file cannot be moved.
        """
        for path in paths:
            with suppress(FileNotFoundError):
                os.rename(self._here(path), self._to + path)

    def discard(self, paths: Iterable[str]) -> None:
        """Remove files from here; the next start finds those that cannot be removed now."""
        for path in paths:
            with suppress(OSError):
                os.unlink(self._here(path))

    def names(self) -> list[str]:
        """Return the names of the samples' files here; other files do not belong to the dataset.

        Raises:
            OSError: The folder cannot be read.
        """
        with os.scandir(self._folder) as entries:
            return [item.name for item in entries if _is_image(item)]

    def _here(self, path: str) -> str:
        return self._from + file_name(path)

    def _write_synced(self, items: Sequence[tuple[str, bytes]]) -> None:
        """Write files, then sync them all while the disk is at work on them: twice as fast."""
        descriptors: list[int] = []
        try:
            for path, content in items:
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
                descriptors.append(os.open(self._here(path), flags, 0o644))
                _write_all(descriptors[-1], content)
            for descriptor in descriptors:
                # On this, Linux starts to write to the disk, without waiting.
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            for descriptor in descriptors:
                os.fsync(descriptor)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)


def make_folder(path: Path) -> None:
    """Create a folder, synced to the disk, if it does not exist.

    Raises:
        OSError: The folder cannot be created, or is a link, which could lead anywhere.
    """
    try:
        path.mkdir()
    except FileExistsError:
        if path.is_symlink() or not path.is_dir():
            raise
        return
    sync(path.parent)


def _write_all(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
