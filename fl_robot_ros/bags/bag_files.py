"""The files of a bag: its storage files, its metadata and its label file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from fl_robot_ros.bags.bag_metadata import METADATA_NAME, BagMetadata, read_metadata
from fl_robot_ros.errors import BagError, LabelError

_STORAGE_SUFFIXES = (".mcap", ".db3")
# The second is left behind by a killed recorder.
_ROS1_SUFFIXES = (".bag", ".bag.active")
_COMPRESSED_SUFFIX = ".zstd"
_LABEL_SUFFIXES = (".csv", ".yaml", ".yml")
_MAX_NAMED = 5
_UNLISTED = f"it was not read, as {METADATA_NAME} does not list it; read it by itself"


@dataclass(frozen=True)
class BagFiles:
    """The files of a bag.

    Attributes:
        path: The folder, or the storage file that is read on its own.
        files: Storage files in the order of recording.
        losses: Files that are not read, in words: listed ones that are missing, and storage files
            in the folder that belong to another bag by their names.
        metadata: The bag's metadata; for a file on its own, only `start_ns` of its bag.
    """

    path: Path
    files: tuple[Path, ...]
    losses: tuple[str, ...] = ()
    metadata: BagMetadata = field(default_factory=BagMetadata)

    def label_file(self) -> Path | None:
        """Return the label file of the bag, None if it has none.

        For a folder it is `labels.csv`, `labels.yaml` or `labels.yml` in it, else the label file
        of one of its files. For a file such as drive.mcap it is `drive.mcap.labels.csv`, `.yaml`
        or `.yml` beside it, else the label file in the folder of the bag that lists it.

        Raises:
            LabelError: There are several.
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


def is_bag(path: Path) -> bool:
    """Say whether a path is a rosbag, by the name of the file or of the folder's files."""
    try:
        names = [item.name for item in path.iterdir()] if path.is_dir() else [path.name]
    except OSError:
        return False
    return METADATA_NAME in names or any(map(_is_bag_file, names))


def find_bag_files(path: Path) -> BagFiles:
    """Return the files of a bag.

    These are the files that the metadata lists, and files of the same name with another number,
    because a killed recorder has not listed its last file. Without metadata all storage files of
    the folder count; their names may differ in the number only.

    Args:
        path: A rosbag2 folder, its metadata.yaml, one of its storage files, or a ROS 1 bag
            (.bag, .bag.active).

    Raises:
        BagError: The path is no bag, or a folder of several recordings.
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
    by_name = {file.name: file for file in present}
    files: list[Path] = []
    losses: list[str] = []
    for name in filter(_is_storage, metadata.names):
        # Some versions of rosbag2 list compressed files by their unpacked name.
        unpacked = name.removesuffix(_COMPRESSED_SUFFIX)
        names = (name, unpacked, unpacked + _COMPRESSED_SUFFIX)
        file = next((by_name[item] for item in names if item in by_name), None)
        if file is None:
            losses.append(f"{name}: the file is missing")
        elif file not in files:
            files.append(file)
    found = {_unpacked_name(file) for file in files}
    others = [file for file in present if _unpacked_name(file) not in found]
    if not files:
        files = present
        if len({_series(file) for file in files}) > 1:
            # The labels of one must not be given to the frames of another.
            raise BagError(
                f"folder {path} has no {METADATA_NAME}, and files of several recordings: "
                f"{', '.join(file.name for file in files[:_MAX_NAMED])}; read each by itself"
            )
    else:
        series = {_series(file) for file in files}
        losses += [f"{file.name}: {_UNLISTED}" for file in others if _series(file) not in series]
        unlisted = [file for file in others if _series(file) in series]
        files = sorted([*files, *unlisted], key=_by_number) if unlisted else files
    if not files:
        raise BagError(f"folder {path} has no .mcap or .db3 file; expected a rosbag2 folder")
    return BagFiles(path, tuple(files), tuple(losses), metadata)


def _whole_bag_start_ns(file: Path) -> int | None:
    """Return the start in ns of the bag whose metadata lists this file; None: no bag does."""
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


def _unpacked_name(path: Path) -> str:
    return path.name.removesuffix(_COMPRESSED_SUFFIX)


def _series(path: Path) -> str:
    """Return the common name of a split bag's files, with "*" for the number."""
    return re.sub(r"_\d+(\.\w+)$", r"_*\1", _unpacked_name(path))


def _is_file(path: Path) -> bool:
    """Say whether this is a regular file; reading a pipe would wait for its writer."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        # For example, the name is too long.
        return False


def _is_storage(name: str) -> bool:
    return name.removesuffix(_COMPRESSED_SUFFIX).endswith(_STORAGE_SUFFIXES)


def _is_bag_file(name: str) -> bool:
    return _is_storage(name) or name.endswith(_ROS1_SUFFIXES)


def _by_number(path: Path) -> list[tuple[int, str]]:
    """Sort bag_10 behind bag_9."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]
