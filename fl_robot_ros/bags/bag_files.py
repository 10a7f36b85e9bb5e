"""The files that a bag consists of, and what its metadata promises."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from fl_robot_ros.bags.recorded_message import Salvage, TopicCounts, is_time, type_as
from fl_robot_ros.dependency import BAG_MODULES, require
from fl_robot_ros.errors import BagError

if TYPE_CHECKING:
    from fl_robot_ros.bags.bag_storage import StorageFile

METADATA_NAME = "metadata.yaml"
# A bag of a thousand topics and files has about 1 MB of it.
_MAX_METADATA_BYTES = 1 << 23

_STORAGE_SUFFIXES = (".mcap", ".db3")
# The second is what a recorder that was killed leaves.
_ROS1_SUFFIXES = (".bag", ".bag.active")
_COMPRESSED_SUFFIX = ".zstd"
_PACKED_BLOCK_BYTES = 1 << 16
_BLOCK_BYTES = 1 << 20
# Of many files, so many are named.
_MAX_NAMED = 5
_UNLISTED = f"it was not read, as {METADATA_NAME} does not list it; read it by itself"
# Black images pack well, but what unpacks to more than 1 GiB and 1000 times its size is damaged
# or meant to fill the disk.
_FREE_UNPACKED_BYTES, _MAX_UNPACKED_SHARE = 1 << 30, 1000


@dataclass(frozen=True)
class BagFiles:
    """The files of a bag.

    Attributes:
        files: Storage files in the order of recording.
        losses: What is not read, in words: files that the metadata lists and that are not there,
            and files beside them that are no part of the bag as far as names and metadata say.
        promised: Number of messages by topic and message type, from the metadata; empty where
            there is none.
        start_ns: When the recording began, in ns, from the metadata, which may be that of a whole
            bag with more files; None where it does not say.
    """

    files: tuple[Path, ...]
    losses: tuple[str, ...] = ()
    promised: TopicCounts = field(default_factory=dict)
    start_ns: int | None = None

    def open_files(self, unpacker: Unpacker) -> Iterator[StorageFile]:
        """Look into each storage file, in the order of recording.

        Raises:
            MissingPackageError: A package that reads bags is not installed.
            OSError: A file cannot be read.
        """
        require(BAG_MODULES)
        # Imported late, as a robot that reads no bags need not have these packages.
        from fl_robot_ros.bags.bag_storage import StorageFile

        for path in self.files:
            yield StorageFile(path, unpacker, self.promised)


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
        return BagFiles((path,), start_ns=whole_bag_start_ns(path))
    if not path.is_dir():
        raise BagError(f"bag {path} does not exist")
    try:
        items = [item for item in path.iterdir() if _is_storage(item.name) and _is_file(item)]
    except OSError as error:
        raise BagError(f"bag {path} cannot be read: {error}") from error
    present = sorted(items, key=_by_number)
    metadata = _read_metadata(path / METADATA_NAME)
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
    return BagFiles(tuple(files), tuple(losses), metadata.promised, metadata.start_ns)


def whole_bag_start_ns(file: Path) -> int | None:
    """Return when the recording began that a file is a part of, by the metadata beside it.

    Returns:
        The time in ns; None where no metadata says of which bag the file is a part.
    """
    if not _is_file(file.with_name(METADATA_NAME)):
        return None
    try:
        bag = find_bag_files(file.parent)
    except BagError:
        return None
    return bag.start_ns if file in bag.files else None


class Unpacker:
    """Unpacks compressed storage files into a temporary folder, where one lies at a time."""

    def __init__(self) -> None:
        self._unpacked: tuple[Path, Path] | None = None
        self._stack = ExitStack()

    def place(self, path: Path, salvage: Salvage) -> Path:
        """Return where a storage file lies unpacked until the next one is asked for.

        Args:
            path: The file, which may be no compressed one.
            salvage: Is told what was lost.

        Raises:
            OSError: It cannot be read, or there is no room to unpack it.
        """
        if not is_compressed(path):
            return path
        if self._unpacked is None or self._unpacked[0] != path:
            self.close()
            folder = self._stack.enter_context(TemporaryDirectory(prefix="fl_robot_ros_bag_"))
            target = Path(folder, path.stem)
            try:
                _unpack(path, target, salvage)
            except OSError:
                self.close()
                raise
            self._unpacked = path, target
        return self._unpacked[1]

    def close(self) -> None:
        """Remove what was unpacked."""
        self._unpacked = None
        self._stack.close()


def is_compressed(path: Path) -> bool:
    """Say whether a storage file is compressed as a whole."""
    return path.suffix == _COMPRESSED_SUFFIX


def _unpack(path: Path, target: Path, salvage: Salvage) -> None:
    from fl_robot_ros.bags.zstd import ZstdDecompressor, ZstdError

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


class _TextLoader(yaml.BaseLoader):
    """Loads YAML as texts, without numbers, merges and aliases, which small files can blow up."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Return the next node.

        Raises:
            YAMLError: It is an alias.
        """
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias is out of place")
        node: yaml.Node | None = super().compose_node(parent, index)
        return node


class _Metadata(NamedTuple):
    """What metadata.yaml says: file names, message counts, start in ns; nothing if broken."""

    names: list[str]
    promised: TopicCounts
    start_ns: int | None


_NO_METADATA = _Metadata([], {}, None)


def _read_metadata(path: Path) -> _Metadata:
    if not _is_file(path):
        return _NO_METADATA
    try:
        with path.open("rb") as file:
            content: Any = yaml.load(file.read(_MAX_METADATA_BYTES), _TextLoader)
        information = content["rosbag2_bagfile_information"]
        # Only names: a path in the metadata must not lead out of the bag's folder.
        names = [PurePath(item).name for item in information["relative_file_paths"]]
        promised: Counter[tuple[str, str]] = Counter()
        for item in information["topics_with_message_count"]:
            topic = item["topic_metadata"]
            name, message_type, count = topic["name"], topic["type"], item["message_count"]
            serialization = topic.get("serialization_format", "cdr")
            if not all(isinstance(text, str) for text in (name, message_type, serialization)):
                return _NO_METADATA
            promised[name, type_as(message_type, serialization)] += max(0, int(count))
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
        return _NO_METADATA
    return _Metadata(list(dict.fromkeys(names)), dict(promised), _start_ns(information))


def _start_ns(information: Any) -> int | None:
    try:
        start_ns = int(information["starting_time"]["nanoseconds_since_epoch"])
    except (KeyError, TypeError, ValueError):
        return None
    return start_ns if is_time(start_ns) else None
