"""The dataset's files: written so that a power cut leaves a whole file or none."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

INDEX_NAME = "index.sqlite3"
LOCK_NAME = ".lock"

_OPEN_FILES = 64
_OWN_NAMES = frozenset(
    {INDEX_NAME, f"{INDEX_NAME}-wal", f"{INDEX_NAME}-shm", f"{INDEX_NAME}-journal", LOCK_NAME}
)
_IMAGE_NAME = re.compile(r"-?\d{1,19}_[0-9a-f]{8}\.jpg")
_UNFINISHED_NAME = re.compile(r"\.-?\d{1,19}_[0-9a-f]{8}\.jpg\.tmp")


@dataclass
class FoundFiles:
    """The files in a dataset's folder, as paths relative to it.

    Attributes:
        images: Files with an image's name and some content.
        empty: Files with an image's name and no content.
        unfinished: Files whose writing was cut short.
        foreign: Number of all other files, links and folders within label folders.
    """

    images: set[str] = field(default_factory=set)
    empty: set[str] = field(default_factory=set)
    unfinished: set[str] = field(default_factory=set)
    foreign: int = 0


class FolderLock:
    """Says whether this is the only one that has a dataset open."""

    def __init__(self, folder: Path) -> None:
        """Take a share of the lock; it is given back at the process's end at the latest.

        Raises:
            OSError: The lock file cannot be opened or locked.
        """
        self._descriptor = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH)
        except BaseException:
            os.close(self._descriptor)
            raise

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Keep others out meanwhile; yields False where others are in already.

        Raises:
            OSError: The file system cannot lock.
        """
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # A failed change of a lock loses the one that was held, so take it again.
            fcntl.flock(self._descriptor, fcntl.LOCK_SH)
            yield False
            return
        try:
            yield True
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    def close(self) -> None:
        """Give the lock back. May be called twice."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def find_files(folder: Path) -> FoundFiles:
    """Return what lies in a dataset's folder; links are not followed.

    Raises:
        OSError: A folder cannot be read.
    """
    found = FoundFiles()
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                _find_in_label_folder(entry.path, entry.name, found)
            elif entry.name not in _OWN_NAMES:
                found.foreign += 1
    return found


def _find_in_label_folder(path: str, name: str, found: FoundFiles) -> None:
    with os.scandir(path) as entries:
        for entry in entries:
            relative = f"{name}/{entry.name}"
            if not entry.is_file(follow_symlinks=False):
                found.foreign += 1
            elif _IMAGE_NAME.fullmatch(entry.name):
                is_empty = entry.stat(follow_symlinks=False).st_size == 0
                (found.empty if is_empty else found.images).add(relative)
            elif _UNFINISHED_NAME.fullmatch(entry.name):
                found.unfinished.add(relative)
            else:
                found.foreign += 1


def write_files(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write image files: beside their places, synced, renamed, their folders synced.

    Args:
        folder: The dataset's folder.
        contents: Content by path relative to the folder, "label folder/file name".

    Raises:
        OSError: The disk is full or unwritable; no unfinished file is left behind, but files that
            had been renamed are.
    """
    items = [(folder / path, content) for path, content in contents.items()]
    parents = sorted({target.parent for target, _ in items})
    new_folders = [parent for parent in parents if _make_folder(parent)]
    try:
        for start in range(0, len(items), _OPEN_FILES):
            _write_synced(items[start : start + _OPEN_FILES])
        for target, _ in items:
            _beside(target).replace(target)
    except BaseException:
        remove_files([_beside(target) for target, _ in items])
        raise
    for parent in [*parents, *([folder] if new_folders else [])]:
        _sync_folder(parent)


def _beside(target: Path) -> Path:
    return target.with_name(f".{target.name}.tmp")


def _write_synced(items: Sequence[tuple[Path, bytes]]) -> None:
    """Write files beside their places; all first, so that one sync helps all."""
    descriptors: list[int] = []
    try:
        for target, content in items:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
            descriptors.append(os.open(_beside(target), flags, 0o644))
            _write_all(descriptors[-1], content)
        for descriptor in descriptors:
            os.fsync(descriptor)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def remove_files(paths: Sequence[Path]) -> None:
    """Remove files that may be gone; what cannot be removed now, the next repair finds."""
    for path in paths:
        with suppress(OSError):
            path.unlink()


def _make_folder(path: Path) -> bool:
    """Make a folder; return whether it is new."""
    try:
        path.mkdir()
    except FileExistsError:
        # A link could lead anywhere.
        if path.is_symlink() or not path.is_dir():
            raise
        return False
    return True


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
