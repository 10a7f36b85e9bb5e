"""The label file that lies in or beside a bag."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from fl_robot_ros.bags.bag_files import METADATA_NAME, find_bag_files, whole_bag_start_ns
from fl_robot_ros.errors import BagError, LabelError

_SUFFIXES = (".csv", ".yaml", ".yml")


def find_sidecar(bag_path: Path) -> Path | None:
    """Return the label file that belongs to a bag, None where there is none.

    It is `labels.csv`, `labels.yaml` or `labels.yml` in the folder of a rosbag2; beside a bag of
    one file such as drive.mcap it is `drive.mcap.labels.csv`, `.yaml` or `.yml`. A folder without
    one has that of its files, and a file that the metadata.yaml beside it has as a part of a bag
    and that has no label file of its own has that in the folder.

    Args:
        bag_path: A rosbag2 folder or its metadata.yaml, or a storage file (mcap, sqlite3, ROS 1).

    Raises:
        LabelError: There is more than one.
    """
    if bag_path.name == METADATA_NAME:
        bag_path = bag_path.parent
    if _exists(bag_path, is_folder=True):
        of_bag = _only_one(bag_path, _inside(bag_path))
        return of_bag or _only_one(bag_path, _of_parts(bag_path))
    own = _only_one(bag_path, _beside(bag_path))
    if own is not None or whole_bag_start_ns(bag_path) is None:
        return own
    return _only_one(bag_path.parent, _inside(bag_path.parent))


def _inside(folder: Path) -> list[Path]:
    return [folder / f"labels{suffix}" for suffix in _SUFFIXES]


def _beside(bag_path: Path) -> list[Path]:
    return [bag_path.with_name(f"{bag_path.name}.labels{suffix}") for suffix in _SUFFIXES]


def _of_parts(folder: Path) -> list[Path]:
    """Return the label files that the bag's files in a folder may have of their own."""
    try:
        files = find_bag_files(folder).files
    except BagError:
        return []
    return [path for file in files for path in _beside(file)]


def _only_one(bag_path: Path, candidates: Iterable[Path]) -> Path | None:
    present = [path for path in candidates if _exists(path)]
    if len(present) > 1:
        names = " and ".join(path.name for path in present)
        raise LabelError(f"bag {bag_path} has {names}; expected one label file, with all rows")
    return present[0] if present else None


def _exists(path: Path, is_folder: bool = False) -> bool:
    try:
        return path.is_dir() if is_folder else path.is_file()
    except OSError:
        # A name too long, or a folder that may not be looked into: its bag cannot be read either.
        return False
