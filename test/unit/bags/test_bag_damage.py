"""Bags that are cut off or damaged."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from bag_reader import read
from bag_recorder import START_NS, drive, make_image, record
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2.enums import CompressionMode
from rosbags.rosbag2.storage_mcap import McapReader

from fl_robot_ros.bags.bag import LabelMessage, open_bag
from fl_robot_ros.errors import BagError
from fl_robot_ros.images.decode import decode_frame


def test_beginning_is_not_known_where_nothing_says_it(tmp_path: Path) -> None:
    file = record(tmp_path / "bag", drive(10, size=(120, 160)))
    file.write_bytes(file.read_bytes()[:-100])
    (tmp_path / "bag" / "metadata.yaml").unlink()
    assert read(file)[2].start_ns is None


@pytest.mark.parametrize("compression", [CompressionMode.NONE, CompressionMode.STORAGE])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 0.97, 0.999])
@pytest.mark.parametrize("with_metadata", [False, True])
def test_cut_mcap_yields_what_is_there(
    tmp_path: Path, compression: CompressionMode, share: float, with_metadata: bool
) -> None:
    items = drive(60, size=(120, 160))
    file = record(tmp_path / "bag", items, compression=compression)
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    if not with_metadata:
        (tmp_path / "bag" / "metadata.yaml").unlink()
    frames, labels, report = read(tmp_path / "bag", ["camera/image_raw"])
    # Compressed chunks give back only whole blocks of what was cut.
    slack = 3 if compression is CompressionMode.NONE else 60
    assert 60 * share - slack <= len(frames) <= 60
    assert [frame.published_ns for frame in frames] == [
        item.time_ns for item in items if not isinstance(item.content, str)
    ][: len(frames)]
    for number, frame in enumerate(frames):
        np.testing.assert_array_equal(decode_frame(frame), make_image(number, 120, 160))
    assert labels[0].label == "cat"
    assert not report.complete
    assert file.name in report.loss
    assert "ends in mid-recording" in report.loss


def test_mcap_cut_anywhere_never_fails_in_another_way(tmp_path: Path) -> None:
    content = record(tmp_path / "bag", drive(2, size=(2, 2))).read_bytes()
    file = tmp_path / "cut.mcap"
    for size in range(0, len(content), 41):
        file.write_bytes(content[:size])
        reading = open_bag(file)
        try:
            frames = sum(not isinstance(item, LabelMessage) for item in reading)
        except BagError:
            continue
        assert 1 <= frames <= 2
        # All the data may be there when only the index and footer are cut.
        assert frames == 2 or reading.report.loss


def test_end_of_zeros_after_a_power_cut_is_a_loss(tmp_path: Path) -> None:
    file = record(tmp_path / "bag", drive(60, size=(120, 160)))
    content = file.read_bytes()
    file.write_bytes(content[: len(content) * 2 // 3] + bytes(len(content) // 3))
    _, _, report = read(tmp_path / "bag")
    assert report.frames_read >= 17
    assert not report.complete


def test_corrupt_chunk_is_left_out_and_reported(tmp_path: Path) -> None:
    file = record(
        tmp_path / "bag", drive(60, size=(240, 320)), compression=CompressionMode.STORAGE
    )
    whole = McapReader(file)
    whole.open()
    start = whole.chunks[6].chunk_start_offset + 100
    whole.close()
    with file.open("r+b") as target:
        target.seek(start)
        target.write(bytes(300_000))
    frames, _, report = read(tmp_path / "bag")
    assert 50 <= len(frames) < 60
    assert len({frame.published_ns for frame in frames}) == len(frames)
    assert not report.complete
    assert "chunk is damaged" in report.loss


@pytest.mark.parametrize("seed", range(30))
def test_flipped_bytes_end_in_frames_or_one_clear_error(tmp_path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    file = record(tmp_path / "bag", drive(6), list(StoragePlugin)[seed % 2])
    content = np.frombuffer(file.read_bytes(), np.uint8).copy()
    content[random.integers(0, len(content), 40)] = random.integers(0, 256, 40)
    file.write_bytes(content.tobytes())
    with contextlib.suppress(BagError):
        read(tmp_path / "bag")


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_cut_sqlite_yields_what_is_there(tmp_path: Path, share: float) -> None:
    file = record(tmp_path / "bag", drive(60, size=(120, 160)), StoragePlugin.SQLITE3)
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    frames, _, report = read(tmp_path / "bag")
    assert len(frames) >= 60 * share - 5
    for number, frame in enumerate(frames):
        np.testing.assert_array_equal(decode_frame(frame), make_image(number, 120, 160))
    assert not report.complete
    assert "damaged" in report.loss


@pytest.mark.parametrize("width", [10, 43, 52])
def test_small_images_of_a_sqlite_bag_cut_anywhere_are_those_that_were_recorded(
    tmp_path: Path, width: int
) -> None:
    # Some on a page, or one on a page and a bit of the next.
    file = record(tmp_path / "bag", drive(20, size=(26, width)), StoragePlugin.SQLITE3)
    content = file.read_bytes()
    most = 0
    for size in range(content.index(b"camera") + 4096, len(content), 331):
        file.write_bytes(content[:size])
        try:
            frames, _, report = read(tmp_path / "bag")
        except BagError:
            continue
        for frame in frames:
            number = round((frame.published_ns - START_NS) / 1e8)
            np.testing.assert_array_equal(decode_frame(frame), make_image(number, 26, width))
        assert not report.complete
        most = max(most, len(frames))
    assert most >= 15


@pytest.mark.parametrize("column", ["data", "timestamp", "topic_id"])
def test_value_that_became_a_damaged_text_loses_one_message(tmp_path: Path, column: str) -> None:
    file = record(tmp_path / "bag", drive(9), StoragePlugin.SQLITE3)
    with contextlib.closing(sqlite3.connect(file)) as bag, bag:
        bag.execute(f"UPDATE messages SET {column} = CAST(x'ff' AS TEXT) WHERE id = 5")
    reading = open_bag(file)
    frames = [item for item in reading if not isinstance(item, LabelMessage)]
    assert len(frames) == 8
    assert not reading.report.complete


def test_unmerged_log_of_a_killed_recorder_is_read(tmp_path: Path) -> None:
    file = record(tmp_path / "bag", drive(20), StoragePlugin.SQLITE3)
    recorder = sqlite3.connect(file)
    recorder.execute("PRAGMA journal_mode = WAL")
    recorder.execute(
        "INSERT INTO messages(topic_id, timestamp, data) "
        "SELECT topic_id, timestamp + 100000000000, data FROM messages"
    )
    recorder.commit()
    killed = tmp_path / "killed"
    shutil.copytree(tmp_path / "bag", killed)
    recorder.close()
    (killed / "bag.db3-shm").unlink()
    before = sorted(killed.iterdir())
    assert read(killed)[2].frames_read == 40
    assert sorted(killed.iterdir()) == before


def test_broken_message_is_counted_not_fatal(tmp_path: Path) -> None:
    record(tmp_path / "bag", drive(10), StoragePlugin.SQLITE3)
    with sqlite3.connect(tmp_path / "bag" / "bag.db3") as database:
        database.execute("UPDATE messages SET data = x'00010000ffffffff' WHERE id IN (4, 5)")
    database.close()
    _, _, report = read(tmp_path / "bag")
    assert report.frames_read == 8
    assert "2 messages are broken" in report.loss
