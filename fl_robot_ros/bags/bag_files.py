"""The files of a bag: its storage files, its metadata and its label file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fl_robot_ros.bags.bag_metadata import METADATA_NAME, BagMetadata, read_metadata
from fl_robot_ros.dependency import BAG_MODULES, require
from fl_robot_ros.errors import BagError, LabelError

if TYPE_CHECKING:
    from fl_robot_ros.bags.bag_storage import BagStorage

_STORAGE_SUFFIXES = (".mcap", ".db3")
# The second is what a recorder that was killed leaves.
_ROS1_SUFFIXES = (".bag", ".bag.active")
_COMPRESSED_SUFFIX = ".zstd"
_LABEL_SUFFIXES = (".csv", ".yaml", ".yml")
# Of many files, so many are named.
_MAX_NAMED = 5
_UNLISTED = f"it was not read, as {METADATA_NAME} does not list it; read it by itself"


@dataclass(frozen=True)
class BagFiles:
    """The files of a bag.

    Attributes:
        path: The folder, or the storage file where it was asked for by itself.
        files: Storage files in the order of recording.
        losses: What is not read, in words: files that the metadata lists and that are not there,
            and files beside them that are no part of the bag as far as names and metadata say.
        metadata: What the metadata says; of a file by itself, only when the whole bag began that
            it is a part of.
    """

    path: Path
    files: tuple[Path, ...]
    losses: tuple[str, ...] = ()
    metadata: BagMetadata = field(default_factory=BagMetadata)

    def label_file(self) -> Path | None:
        """Return the label file that belongs to the bag, None where there is none.

        It is `labels.csv`, `labels.yaml` or `labels.yml` in the folder; beside a file such as
        drive.mcap it is `drive.mcap.labels.csv`, `.yaml` or `.yml`. A folder without one has that
        of its files, and a file without one that in the folder of the bag that it is a part of.

        Raises:
            LabelError: There is more than one.
        """
        own = [
            path for file in self.files for path in _label_files(file.with_name, f"{file.name}.")
        ]
        if self.files == (self.path,):
            is_part = self.metadata.start_ns is not None
            inside = _label_files(self.path.with_name) if is_part else []
            return self._only(own) or self._only(inside)
        return self._only(_label_files(self.path.joinpath)) or self._only(own)

    def _only(self, candidates: Iterable[Path]) -> Path | None:
        present = [path for path in candidates if _is_file(path)]
        if len(present) > 1:
            names = " and ".join(path.name for path in present)
            raise LabelError(
                f"bag {self.path} has {names}; expected one label file, with all rows"
            )
        return present[0] if present else None

    def open(self) -> BagStorage:
        """Look into the storage files.

        Raises:
            MissingPackageError: A package that reads bags is not installed.
            OSError: A file cannot be read.
        """
        require(BAG_MODULES)
        # Imported late, as a robot that reads no bags need not have these packages.
        from fl_robot_ros.bags.bag_storage import BagStorage

        return BagStorage(self)


def is_bag(path: Path) -> bool:
    """Say whether a path is a rosbag, by its name and what lies in it."""
    try:
        names = [item.name for item in path.iterdir()] if path.is_dir() else [path.name]
    except OSError:
        return False
    return METADATA_NAME in names or any(map(_is_bag_file, names))


def find_bag_files(path: Path) -> BagFiles:
    """Return the files of a bag.

    They are those that the metadata lists, and those that are named like them but for the number,
    as a recorder that is killed has not listed its last file; without metadata, all in the folder,
    which must be named alike.

    Args:
        path: A rosbag2 folder, its metadata.yaml or a storage file in it, or a ROS 1 .bag file,
            also one that is still named .bag.active.

    Raises:
        BagError: There is no bag at the path, or there are several.
    """
    if path.name == METADATA_NAME:
        path = path.parent
    if path.is_file():
        if not _is_bag_file(path.name):
            raise BagError(f"{path} is not a bag; expected a .mcap, .db3 or .bag file or a folder")
        return BagFiles(path, (path,), metadata=BagMetadata(start_ns=_whole_bag_start_ns(path)))
    if not path.is_dir():
        raise BagError(f"bag {path} does not exist")
    try:
        items = [item for item in path.iterdir() if _is_storage(item.name) and _is_file(item)]
    except OSError as error:
        raise BagError(f"bag {path} cannot be read: {error}") from error
    present = sorted(items, key=_by_number)
    listed = path / METADATA_NAME
    metadata = read_metadata(listed) if _is_file(listed) else BagMetadata()
    names = [_present_name(path, name) for name in metadata.names if _is_storage(name)]
    files: list[Path] = []
    losses: list[str] = []
    for file in (path / name for name in dict.fromkeys(names)):
        if _is_file(file):
            files.append(file)
        else:
            losses.append(f"{file.name}: the file is missing")
    if not files:
        files = present
        if len({_series(file) for file in files}) > 1:
            # One's labels must not be taken for the other's.
            raise BagError(
                f"folder {path} has no {METADATA_NAME}, and files of several recordings: "
                f"{', '.join(file.name for file in files[:_MAX_NAMED])}; read each by itself"
            )
    elif others := _others(files, present):
        series = {_series(file) for file in files}
        losses += [f"{file.name}: {_UNLISTED}" for file in others if _series(file) not in series]
        files += [file for file in others if _series(file) in series]
        files.sort(key=_by_number)
    if not files:
        raise BagError(f"folder {path} has no .mcap or .db3 file; expected a rosbag2 folder")
    return BagFiles(path, tuple(files), tuple(losses), metadata)


def _whole_bag_start_ns(file: Path) -> int | None:
    """Return when the bag began, in ns, that a file is a part of by the metadata beside it."""
    if not _is_file(file.with_name(METADATA_NAME)):
        return None
    try:
        bag = find_bag_files(file.parent)
    except BagError:
        return None
    return bag.metadata.start_ns if file in bag.files else None


def _label_files(place: Callable[[str], Path], prefix: str = "") -> list[Path]:
    return [place(f"{prefix}labels{suffix}") for suffix in _LABEL_SUFFIXES]


def is_compressed(path: Path) -> bool:
    """Say whether a storage file is compressed as a whole."""
    return path.suffix == _COMPRESSED_SUFFIX


def _present_name(folder: Path, name: str) -> str:
    """Return the name of a listed file as it lies there, compressed or not."""
    names = (name, name + _COMPRESSED_SUFFIX, name.removesuffix(_COMPRESSED_SUFFIX))
    return next((other for other in names if _is_file(folder / other)), name)


def _others(found: list[Path], present: list[Path]) -> list[Path]:
    """Return the files beside those found that are not the same, compressed or unpacked."""
    names = {_unpacked_name(file) for file in found}
    return [file for file in present if _unpacked_name(file) not in names]


def _unpacked_name(path: Path) -> str:
    return path.name.removesuffix(_COMPRESSED_SUFFIX)


def _series(path: Path) -> str:
    """Return what the names of a split bag's files have in common: all but their numbers."""
    return re.sub(r"_\d+(\.\w+)$", r"_*\1", _unpacked_name(path))


def _is_file(path: Path) -> bool:
    """Say whether a regular file is there: a pipe, for example, would wait for its writer."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        # A name that is too long, for example.
        return False


def _is_storage(name: str) -> bool:
    return name.removesuffix(_COMPRESSED_SUFFIX).endswith(_STORAGE_SUFFIXES)


def _is_bag_file(name: str) -> bool:
    return _is_storage(name) or name.endswith(_ROS1_SUFFIXES)


def _by_number(path: Path) -> list[tuple[int, str]]:
    """Sort bag_10 behind bag_9."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]
