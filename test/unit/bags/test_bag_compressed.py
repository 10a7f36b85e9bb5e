"""Bags that are compressed, by file, by message or by chunk."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from bag_reader import read
from bag_recorder import Item, drive, images_of, make_image, record
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2.enums import CompressionMode

from fl_robot_ros.bags import bag_files
from fl_robot_ros.bags.bag import open_bag
from fl_robot_ros.bags.recorded_message import Salvage
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


@pytest.mark.parametrize("has_metadata", [False, True])
def test_one_file_at_a_time_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_metadata: bool
) -> None:
    files = split_bag(tmp_path, drive(12, labels=["cat"])[1:], per_file=4)
    if has_metadata:
        text = (tmp_path / "part0" / "metadata.yaml").read_text()
        names = "".join(f"  - {file.name}\n" for file in files)
        text = re.sub(r"(relative_file_paths:\n)  - .*\n", rf"\1{names}", text)
        (tmp_path / "bag" / "metadata.yaml").write_text(text)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    unpacked = []
    unpack = bag_files._unpack

    def spy(path: Path, target: Path, salvage: Salvage) -> None:
        unpack(path, target, salvage)
        unpacked.append(path)

    monkeypatch.setattr(bag_files, "_unpack", spy)
    reading = open_bag(tmp_path / "bag")
    for number, _ in enumerate(reading):
        (folder,) = temporary.iterdir()
        assert [file.name for file in folder.iterdir()] == [f"bag_{number // 4}.mcap"]
    assert reading.report.frames_read == 12
    assert list(temporary.iterdir()) == []
    # Without metadata, it takes a look into each to know the topics.
    assert unpacked == (files if has_metadata else files + files)


def test_compressed_file_alone_is_unpacked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file,) = split_bag(tmp_path, drive(4, labels=["cat"])[1:], per_file=4)
    unpacked = []
    unpack = bag_files._unpack
    monkeypatch.setattr(
        bag_files, "_unpack", lambda *places: (unpack(*places), unpacked.append(places[0]))
    )
    assert read(file)[2].frames_read == 4
    assert unpacked == [file]


@pytest.mark.parametrize("lost", [("bag_1",), ("bag_0", "bag_1", "bag_2")])
def test_file_that_there_is_no_room_to_unpack_is_a_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: tuple[str, ...]
) -> None:
    split_bag(tmp_path, drive(12, labels=["cat"])[1:], per_file=4)
    unpack = bag_files._unpack

    def fill(path: Path, target: Path, salvage: Salvage) -> None:
        unpack(path, target, salvage)
        if path.name.startswith(lost):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(bag_files, "_unpack", fill)
    loss = "bag_1.mcap.zstd: it cannot be unpacked: [Errno 28] No space left on device"
    source = BagSource(tmp_path / "bag") if len(lost) == 1 else None
    if source is None:
        with pytest.raises(BagError, match=re.escape(loss)):
            read(tmp_path / "bag")
        with pytest.raises(SourceError, match=re.escape(loss)):
            BagSource(tmp_path / "bag")
        return
    _, _, report = read(tmp_path / "bag")
    assert (report.frames_read, report.loss) == (8, loss)
    assert len(list(source.items())) == 8
    assert source.skipped == [loss]
    source.close()
