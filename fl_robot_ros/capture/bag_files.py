"""The files that a bag consists of, and what its metadata promises."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from fl_robot_ros.capture.recorded_message import Salvage, TopicCounts
from fl_robot_ros.errors import BagError

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdDecompressor, ZstdError
else:
    from backports.zstd import ZstdDecompressor, ZstdError

METADATA_NAME = "metadata.yaml"
# A bag of a thousand topics and files has about 1 MB of it.
_MAX_METADATA_BYTES = 1 << 23

_STORAGE_SUFFIXES = (".mcap", ".db3")
# The second is what a recorder that was killed leaves.
_ROS1_SUFFIXES = (".bag", ".bag.active")
_COMPRESSED_SUFFIX = ".zstd"
_PACKED_BLOCK_BYTES = 1 << 16
_BLOCK_BYTES = 1 << 20
# Black pictures pack well, but what unpacks to more than 1 GiB and 1000 times its size is damaged
# or meant to fill the disk.
_FREE_UNPACKED_BYTES, _MAX_UNPACKED_SHARE = 1 << 30, 1000


@dataclass(frozen=True)
class BagFiles:
    """The files of a bag.

    Attributes:
        files: Storage files in the order of recording.
        missing: Names of files that the metadata lists and that are not there.
        promised: Number of messages by topic and message type, from the metadata; empty where
            there is none.
    """

    files: tuple[Path, ...]
    missing: tuple[str, ...] = ()
    promised: TopicCounts = field(default_factory=dict)


def find_bag_files(path: Path) -> BagFiles:
    """Return the files of a bag.

    Args:
        path: A rosbag2 folder, its metadata.yaml or a storage file in it, or a ROS 1 .bag file,
            also one that is still named .bag.active.

    Raises:
        BagError: There is no bag at the path.
    """
    if path.name == METADATA_NAME:
        path = path.parent
    if path.is_file():
        if not (_is_storage(path) or path.name.endswith(_ROS1_SUFFIXES)):
            raise BagError(f"{path} is not a bag; expected a .mcap, .db3 or .bag file or a folder")
        return BagFiles((path,))
    if not path.is_dir():
        raise BagError(f"bag {path} does not exist")
    try:
        present = sorted((item for item in path.iterdir() if _is_storage(item)), key=_by_number)
    except OSError as error:
        raise BagError(f"bag {path} cannot be read: {error}") from error
    listed, promised = _read_metadata(path / METADATA_NAME)
    listed = [_present_name(path, name) for name in listed if _is_storage(Path(name))]
    missing = [name for name in listed if not (path / name).is_file()]
    files = [path / name for name in listed if name not in missing] or present
    if not files:
        raise BagError(f"folder {path} has no .mcap or .db3 file; expected a rosbag2 folder")
    return BagFiles(tuple(files), tuple(missing), promised)


@contextmanager
def unpacked(path: Path, salvage: Salvage) -> Iterator[Path]:
    """Yield a storage file as it is, or unpacked into a temporary folder where it is compressed.

    Raises:
        BagError: There is no room to unpack it.
    """
    if path.suffix != _COMPRESSED_SUFFIX:
        yield path
        return
    with TemporaryDirectory(prefix="fl_robot_ros_bag_") as folder:
        target = Path(folder, path.stem)
        try:
            _unpack(path, target, salvage)
        except OSError as error:
            raise BagError(f"bag file {path} cannot be unpacked: {error}") from error
        yield target


def _unpack(path: Path, target: Path, salvage: Salvage) -> None:
    room = _FREE_UNPACKED_BYTES + _MAX_UNPACKED_SHARE * path.stat().st_size
    decompressor = ZstdDecompressor()
    with path.open("rb") as packed, target.open("wb") as file:
        while room > 0:
            block = b""
            if decompressor.eof:
                block = decompressor.unused_data or packed.read(_PACKED_BLOCK_BYTES)
                if not block:
                    return
                decompressor = ZstdDecompressor()
            elif decompressor.needs_input:
                block = packed.read(_PACKED_BLOCK_BYTES)
                if not block:
                    salvage.note("its compressed data is cut off")
                    return
            try:
                content = decompressor.decompress(block, _BLOCK_BYTES)
            except ZstdError as error:
                salvage.note(f"its compressed data is damaged: {error}")
                return
            file.write(content)
            room -= len(content)
    salvage.note("its compressed data unpacks to more than 1000 times its size")


def _present_name(folder: Path, name: str) -> str:
    """Return the name of a listed file; metadata may leave out that it is compressed."""
    packed = name + _COMPRESSED_SUFFIX
    return packed if not (folder / name).is_file() and (folder / packed).is_file() else name


def _is_storage(path: Path) -> bool:
    name = path.with_suffix("") if path.suffix == _COMPRESSED_SUFFIX else path
    return name.suffix in _STORAGE_SUFFIXES


def _by_number(path: Path) -> list[tuple[int, str]]:
    """Sort bag_10 behind bag_9."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _read_metadata(path: Path) -> tuple[list[str], TopicCounts]:
    """Return file names and message counts; both empty where the metadata is missing or broken."""
    try:
        with path.open("rb") as file:
            content: Any = yaml.safe_load(file.read(_MAX_METADATA_BYTES))
        information = content["rosbag2_bagfile_information"]
        # Only names: a path in the metadata must not lead out of the bag's folder.
        names = [PurePath(item).name for item in information["relative_file_paths"]]
        promised: Counter[tuple[str, str]] = Counter()
        for item in information["topics_with_message_count"]:
            topic = item["topic_metadata"]
            name, message_type, count = topic["name"], topic["type"], item["message_count"]
            if not isinstance(name, str) or not isinstance(message_type, str):
                return [], {}
            promised[name, message_type] += max(0, int(count))
    except (
        OSError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        OverflowError,
        RecursionError,
        yaml.YAMLError,
    ):
        return [], {}
    return list(dict.fromkeys(names)), dict(promised)
