"""Bags that are compressed, by file, by message or by chunk."""

from __future__ import annotations

import re
import resource
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from bag_reader import read
from bag_recorder import Item, drive, images_of, make_image, record
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2.enums import CompressionMode

from fl_robot_ros.bags.bag import open_bag
from fl_robot_ros.errors import BagError, SourceError
from fl_robot_ros.images.decode import decode_frame
from fl_robot_ros.playback.bag_source import BagSource

STORAGES = list(StoragePlugin)


@pytest.mark.parametrize("mode", [CompressionMode.FILE, CompressionMode.MESSAGE])
@pytest.mark.parametrize("storage", STORAGES)
def test_compressed_bags(tmp_path: Path, storage: StoragePlugin, mode: CompressionMode) -> None:
    record(tmp_path / "bag", drive(10), storage, mode)
    frames, _, report = read(tmp_path / "bag")
    np.testing.assert_array_equal(decode_frame(frames[3]), make_image(3))
    assert report.complete


def test_lz4_chunks(tmp_path: Path) -> None:
    record(tmp_path / "bag", drive(10), lz4_chunks=True)
    frames, _, report = read(tmp_path / "bag")
    np.testing.assert_array_equal(decode_frame(frames[3]), make_image(3))
    assert report.complete


@pytest.mark.parametrize("mode", [CompressionMode.FILE, CompressionMode.MESSAGE])
@pytest.mark.parametrize("storage", STORAGES)
def test_compressed_bags_cut_anywhere_yield_their_beginning(
    tmp_path: Path, storage: StoragePlugin, mode: CompressionMode
) -> None:
    items = drive(12, size=(60, 80))
    file = record(tmp_path / "bag", items, storage, mode)
    content = file.read_bytes()
    most = 0
    for size in range(0, len(content), len(content) // 12):
        file.write_bytes(content[:size])
        try:
            frames, _, report = read(tmp_path / "bag")
        except BagError:
            continue
        for number, frame in enumerate(frames):
            np.testing.assert_array_equal(decode_frame(frame), make_image(number, 60, 80))
        assert len(frames) == 12 or not report.complete
        most = max(most, len(frames))
    assert most >= 6


@pytest.mark.parametrize("storage", STORAGES)
def test_split_bag_compressed_by_file(tmp_path: Path, storage: StoragePlugin) -> None:
    items = drive(12)
    folder = tmp_path / "bag"
    folder.mkdir()
    names = []
    for number in range(3):
        part = record(
            tmp_path / f"part{number}",
            items[number * 5 : number * 5 + 5],
            storage,
            CompressionMode.FILE,
        )
        names.append(f"bag_{number}{''.join(part.suffixes)}")
        shutil.copy(part, folder / names[-1])
    text = (tmp_path / "part0" / "metadata.yaml").read_text()
    text = re.sub(r"(relative_file_paths:\n)  - .*\n", rf"\1  - {names[0]}\n", text)
    for name in reversed(names[1:]):
        # As some versions of rosbag2 write it, without the suffix of the compression.
        text = text.replace(names[0], f"{names[0]}\n  - {Path(name).stem}", 1)
    (folder / "metadata.yaml").write_text(text)
    frames, labels, report = read(folder)
    assert [frame.published_ns for frame in frames] == [i.time_ns for i in images_of(items)]
    assert len(labels) == 2
    assert "missing" not in report.loss


def split_bag(folder: Path, items: list[Item], per_file: int) -> list[Path]:
    """Write a split bag without metadata whose files are compressed; return its files."""
    (folder / "bag").mkdir()
    files = []
    for number in range(len(items) // per_file):
        some = items[number * per_file : (number + 1) * per_file]
        part = record(folder / f"part{number}", some, compression=CompressionMode.FILE)
        files.append(shutil.copy(part, folder / "bag" / f"bag_{number}.mcap.zstd"))
    return files


@pytest.fixture
def unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Note every folder that something is unpacked into, and give them a place of their own."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    folders: list[str] = []
    is_watched = [True]

    def note(event: str, args: tuple[object, ...]) -> None:
        if is_watched[0] and event == "tempfile.mkdtemp":
            folders.append(str(args[0]))

    # An audit hook stays until Python ends.
    sys.addaudithook(note)
    yield folders
    is_watched[0] = False


@pytest.mark.parametrize("has_metadata", [False, True])
def test_one_file_at_a_time_is_unpacked(
    tmp_path: Path, unpacked: list[str], has_metadata: bool
) -> None:
    files = split_bag(tmp_path, drive(12, labels=["cat"])[1:], per_file=4)
    if has_metadata:
        text = (tmp_path / "part0" / "metadata.yaml").read_text()
        names = "".join(f"  - {file.name}\n" for file in files)
        text = re.sub(r"(relative_file_paths:\n)  - .*\n", rf"\1{names}", text)
        (tmp_path / "bag" / "metadata.yaml").write_text(text)
    unpacked.clear()
    with open_bag(tmp_path / "bag") as bag:
        for number, _ in enumerate(bag):
            (folder,) = (tmp_path / "temporary").iterdir()
            assert [file.name for file in folder.iterdir()] == [f"bag_{number // 4}.mcap"]
    assert bag.report.frames_read == 12
    assert list((tmp_path / "temporary").iterdir()) == []
    # Without metadata, it takes a look into each to know the topics.
    assert len(unpacked) == (3 if has_metadata else 6)


def test_compressed_file_alone_is_unpacked_once(tmp_path: Path, unpacked: list[str]) -> None:
    (file,) = split_bag(tmp_path, drive(4, labels=["cat"])[1:], per_file=4)
    unpacked.clear()
    assert read(file)[2].frames_read == 4
    assert len(unpacked) == 1


@pytest.mark.parametrize("lost", [("bag_1",), ("bag_0", "bag_1", "bag_2")])
def test_file_that_there_is_no_room_to_unpack_is_a_loss(
    tmp_path: Path, lost: tuple[str, ...]
) -> None:
    files = split_bag(tmp_path, drive(12, labels=["cat"])[1:], per_file=4)
    if len(lost) == 1:
        large = record(
            tmp_path / "large", drive(4, size=(200, 200)), compression=CompressionMode.FILE
        )
        shutil.copy(large, files[1])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000 if len(lost) == 1 else 10, limits[1]))
    try:
        loss = "bag_1.mcap.zstd: it cannot be unpacked: [Errno 27] File too large"
        if len(lost) == 3:
            with pytest.raises(BagError, match=re.escape(loss)):
                read(tmp_path / "bag")
            with pytest.raises(SourceError, match=re.escape(loss)):
                BagSource(tmp_path / "bag")
            return
        _, _, report = read(tmp_path / "bag")
        assert (report.frames_read, report.loss) == (8, loss)
        source = BagSource(tmp_path / "bag")
        assert len(list(source.items())) == 8
        assert source.skipped == [loss]
        source.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
