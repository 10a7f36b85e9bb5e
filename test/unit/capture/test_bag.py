"""Reading whole and damaged bags."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import signal
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from bag_recorder import START_NS, Item, drive, picture, pictures_of, record, record_ros1
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2.enums import CompressionMode
from rosbags.rosbag2.storage_mcap import McapReader

from fl_robot_ros.capture import bag_files
from fl_robot_ros.capture.bag import BagReport, LabelMessage, read_bag
from fl_robot_ros.capture.bag_source import BagSource
from fl_robot_ros.capture.decode import decode_frame
from fl_robot_ros.capture.frame import CompressedFrame, Frame, RawFrame
from fl_robot_ros.capture.recorded_message import Salvage
from fl_robot_ros.errors import BagError, SourceError

STORAGES = list(StoragePlugin)
# Twice as many mappings with each line.
MERGES = "a0: &a0 {x: 1}\n" + "".join(
    f"a{number}: &a{number} {{<<: [*a{number - 1}, *a{number - 1}]}}\n" for number in range(1, 50)
)


@pytest.fixture
def waits_for_nothing() -> Iterator[None]:
    """Fail a test that waits, which the writer of a pipe could make it do for ever."""

    def fail(*_: object) -> None:
        pytest.fail("it waits")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def read(
    path: Path, topics: list[str] | None = None
) -> tuple[list[Frame], list[LabelMessage], BagReport]:
    reading = read_bag(path, topics)
    items = list(reading)
    frames = [item for item in items if not isinstance(item, LabelMessage)]
    labels = [item for item in items if isinstance(item, LabelMessage)]
    assert (len(frames), len(labels)) == (reading.report.frames_read, reading.report.labels_read)
    return frames, labels, reading.report


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("compressed", [False, True])
def test_round_trip(tmp_path: Path, storage: StoragePlugin, compressed: bool) -> None:
    items = drive(30, compressed=compressed)
    record(tmp_path / "bag", items, storage)
    frames, labels, report = read(tmp_path / "bag")
    assert [(item.label, item.published_ns) for item in labels] == [
        ("cat", START_NS - 1_000_000),
        ("dog", START_NS + 1_499_000_000),
    ]
    pictures = [item for item in items if not isinstance(item.content, str)]
    assert [frame.published_ns for frame in frames] == [item.time_ns for item in pictures]
    assert [frame.stamp_ns for frame in frames] == [item.time_ns - 5_000_000 for item in pictures]
    assert {type(frame) for frame in frames} == {CompressedFrame if compressed else RawFrame}
    for frame, item in zip(frames, pictures, strict=True):
        difference = decode_frame(frame).astype(int) - np.asarray(item.content)
        assert np.abs(difference).mean() < (4 if compressed else 0.001)
    assert report == BagReport(
        frames_read=30,
        labels_read=2,
        frames_expected=30,
        topics=("/camera/image_raw",),
        label_topics=("/fl/label",),
        start_ns=START_NS - 1_000_000,
        complete=True,
    )


def test_storage_file_and_metadata_file_stand_for_the_bag(tmp_path: Path) -> None:
    file = record(tmp_path / "bag", drive(10))
    for path in (file, tmp_path / "bag" / "metadata.yaml"):
        assert read(path)[2].frames_read == 10


def test_header_stamp_zero_falls_back_to_the_recorded_time(tmp_path: Path) -> None:
    record(tmp_path / "bag", [Item("/camera", START_NS, picture(0), stamp_ns=0)])
    assert read(tmp_path / "bag")[0][0].stamp_ns == START_NS


def test_topics_match_in_any_namespace(tmp_path: Path) -> None:
    items = drive(10, topic="/robot1/camera/image_raw", label_topic="/robot1/fl/label")
    items += drive(4, topic="/robot1/rear/image_raw")
    items += [Item("/other/label", START_NS, "no"), Item("/xfl/label", START_NS, "no")]
    record(tmp_path / "bag", items)
    frames, labels, report = read(tmp_path / "bag", ["camera/image_raw"])
    assert {frame.topic for frame in frames} == {"/robot1/camera/image_raw"}
    assert {item.label for item in labels} == {"cat", "dog"}
    assert not report.is_fallback
    assert report.complete


def test_part_of_a_name_is_no_match(tmp_path: Path) -> None:
    items = drive(4, topic="/rear_camera/image") + drive(4, topic="/camera/image")
    record(tmp_path / "bag", items)
    assert read(tmp_path / "bag", ["camera/image"])[2].topics == ("/camera/image",)


def test_all_image_topics_are_read_where_none_of_the_wanted_is_there(tmp_path: Path) -> None:
    record(tmp_path / "bag", drive(4, topic="/left") + drive(4, topic="/right", compressed=True))
    _, _, report = read(tmp_path / "bag", ["camera/image_raw"])
    assert report.is_fallback
    assert set(report.topics) == {"/left", "/right"}
    assert report.frames_read == 8


@pytest.mark.parametrize("has_metadata", [False, True])
@pytest.mark.parametrize("storage", [*STORAGES, None])
def test_beginning_and_label_topics_are_known_at_the_first_item(
    tmp_path: Path, storage: StoragePlugin | None, has_metadata: bool
) -> None:
    items = drive(10, label_topic="/b/fl/label") + drive(4, label_topic="/a/fl/label")
    items += [Item("/early", START_NS - 10**9, "before all"), Item("/x/label", START_NS, "no")]
    if storage is None:
        path = record_ros1(tmp_path / "drive.bag", items)
    else:
        record(path := tmp_path / "bag", items, storage)
        if not has_metadata:
            (path / "metadata.yaml").unlink()
    with contextlib.closing(read_bag(path)) as reading:
        item = next(reading)
    assert isinstance(item, LabelMessage)
    assert item.topic in ("/a/fl/label", "/b/fl/label")
    assert reading.report.label_topics == ("/a/fl/label", "/b/fl/label")
    assert reading.report.start_ns == START_NS - 10**9


@pytest.mark.parametrize("start", ["-1", "9223372036854775808", "soon", "true", "[]"])
def test_odd_beginning_in_the_metadata_is_taken_from_the_file(tmp_path: Path, start: str) -> None:
    record(tmp_path / "bag", drive(4))
    metadata = tmp_path / "bag" / "metadata.yaml"
    text = re.sub(r"(nanoseconds_since_epoch: )\d+", rf"\g<1>{start}", metadata.read_text())
    metadata.write_text(text)
    assert read(tmp_path / "bag")[2].start_ns == START_NS - 1_000_000


def test_beginning_is_not_known_where_nothing_says_it(tmp_path: Path) -> None:
    file = record(tmp_path / "bag", drive(10, size=(120, 160)))
    file.write_bytes(file.read_bytes()[:-100])
    assert read(file)[2].start_ns is None


@pytest.mark.parametrize("mode", [CompressionMode.FILE, CompressionMode.MESSAGE])
@pytest.mark.parametrize("storage", STORAGES)
def test_compressed_bags(tmp_path: Path, storage: StoragePlugin, mode: CompressionMode) -> None:
    record(tmp_path / "bag", drive(10), storage, mode)
    frames, _, report = read(tmp_path / "bag")
    np.testing.assert_array_equal(decode_frame(frames[3]), picture(3))
    assert report.complete


def test_lz4_chunks(tmp_path: Path) -> None:
    record(tmp_path / "bag", drive(10), lz4_chunks=True)
    frames, _, report = read(tmp_path / "bag")
    np.testing.assert_array_equal(decode_frame(frames[3]), picture(3))
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
            np.testing.assert_array_equal(decode_frame(frame), picture(number, 60, 80))
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
    assert [frame.published_ns for frame in frames] == [i.time_ns for i in pictures_of(items)]
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
    reading = read_bag(tmp_path / "bag")
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


@pytest.mark.parametrize("storage", STORAGES)
def test_messages_written_topic_by_topic_come_in_the_order_of_recording(
    tmp_path: Path, storage: StoragePlugin
) -> None:
    items = drive(60, size=(120, 160)) + drive(60, topic="/rear", size=(120, 160), labels=["x"])
    by_topic = sorted(items, key=lambda item: item.topic)
    record(tmp_path / "bag", by_topic, storage)
    read_items = list(read_bag(tmp_path / "bag"))
    assert len(read_items) == len(items)
    times = [item.published_ns for item in read_items]
    assert times == sorted(times)


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
        np.testing.assert_array_equal(decode_frame(frame), picture(number, 120, 160))
    assert labels[0].label == "cat"
    assert not report.complete
    assert file.name in report.loss
    assert "ends in mid-recording" in report.loss


def test_mcap_cut_anywhere_never_fails_in_another_way(tmp_path: Path) -> None:
    content = record(tmp_path / "bag", drive(2, size=(2, 2))).read_bytes()
    file = tmp_path / "cut.mcap"
    for size in range(0, len(content), 41):
        file.write_bytes(content[:size])
        reading = read_bag(file)
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
    file = record(tmp_path / "bag", drive(6), STORAGES[seed % 2])
    content = np.frombuffer(file.read_bytes(), np.uint8).copy()
    content[random.integers(0, len(content), 40)] = random.integers(0, 256, 40)
    file.write_bytes(content.tobytes())
    with contextlib.suppress(BagError):
        read(tmp_path / "bag")


@pytest.mark.parametrize("storage", STORAGES)
def test_missing_metadata_loses_nothing(tmp_path: Path, storage: StoragePlugin) -> None:
    record(tmp_path / "bag", drive(10), storage)
    (tmp_path / "bag" / "metadata.yaml").unlink()
    frames, labels, report = read(tmp_path / "bag")
    assert (len(frames), len(labels)) == (10, 2)
    assert report.complete


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "rosbag2_bagfile_information: 3",
        "a: \0",
        MERGES,
        "a: 1" + ":1" * 500_000,
        "[" * 100_000,
        "rosbag2_bagfile_information: {relative_file_paths: [[a]], topics_with_message_count: []}",
        "rosbag2_bagfile_information: {relative_file_paths: [a], topics_with_message_count: "
        "[{topic_metadata: {name: a, type: b}, message_count: .inf}]}",
    ],
)
@pytest.mark.usefixtures("waits_for_nothing")
def test_broken_metadata_loses_nothing(tmp_path: Path, text: str) -> None:
    record(tmp_path / "bag", drive(10))
    (tmp_path / "bag" / "metadata.yaml").write_text(text)
    assert read(tmp_path / "bag")[2].frames_read == 10


def test_metadata_with_aliases_counts_as_broken(tmp_path: Path) -> None:
    record(tmp_path / "bag", drive(10))
    metadata = tmp_path / "bag" / "metadata.yaml"
    text = re.sub(r"message_count: 10", "message_count: &a 99", metadata.read_text())
    metadata.write_text(text)
    assert read(tmp_path / "bag")[2].frames_expected == 99
    metadata.write_text(f"{text}\nx: *a\n")
    assert read(tmp_path / "bag")[2].complete


@pytest.mark.parametrize("name", ["zz.mcap", "metadata.yaml", "folder.mcap"])
@pytest.mark.usefixtures("waits_for_nothing")
def test_only_regular_files_are_read(tmp_path: Path, name: str) -> None:
    record(tmp_path / "bag", drive(10))
    (tmp_path / "bag" / "metadata.yaml").unlink()
    if name.startswith("folder"):
        (tmp_path / "bag" / name).mkdir()
    else:
        os.mkfifo(tmp_path / "bag" / name)
    assert read(tmp_path / "bag")[2].frames_read == 10


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_cut_sqlite_yields_what_is_there(tmp_path: Path, share: float) -> None:
    file = record(tmp_path / "bag", drive(60, size=(120, 160)), StoragePlugin.SQLITE3)
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    frames, _, report = read(tmp_path / "bag")
    assert len(frames) >= 60 * share - 5
    for number, frame in enumerate(frames):
        np.testing.assert_array_equal(decode_frame(frame), picture(number, 120, 160))
    assert not report.complete
    assert "damaged" in report.loss


@pytest.mark.parametrize("column", ["data", "timestamp", "topic_id"])
def test_value_that_became_a_damaged_text_loses_one_message(tmp_path: Path, column: str) -> None:
    file = record(tmp_path / "bag", drive(9), StoragePlugin.SQLITE3)
    with contextlib.closing(sqlite3.connect(file)) as bag, bag:
        bag.execute(f"UPDATE messages SET {column} = CAST(x'ff' AS TEXT) WHERE id = 5")
    reading = read_bag(file)
    frames = [item for item in reading if not isinstance(item, LabelMessage)]
    assert len(frames) == 8
    assert not reading.report.complete


def test_sqlite_bag_is_closed_in_mid_reading(tmp_path: Path) -> None:
    file = record(tmp_path / "bag", drive(9), StoragePlugin.SQLITE3)
    reading = read_bag(file)
    next(reading)
    reading.close()
    open_files = {os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()}
    assert str(file.resolve()) not in open_files


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


def test_metadata_that_disagrees_on_qos_does_not_hide_the_messages(tmp_path: Path) -> None:
    record(tmp_path / "bag", drive(10))
    metadata = tmp_path / "bag" / "metadata.yaml"
    qos = """offered_qos_profiles:
        - {history: keep_last, depth: 7, reliability: reliable, durability: volatile,
           deadline: {sec: 0, nsec: 0}, lifespan: {sec: 0, nsec: 0}, liveliness: automatic,
           liveliness_lease_duration: {sec: 0, nsec: 0}, avoid_ros_namespace_conventions: false}
"""
    text = metadata.read_text()
    assert "offered_qos_profiles: []\n" in text
    metadata.write_text(text.replace("offered_qos_profiles: []\n", qos))
    assert read(tmp_path / "bag")[2].frames_read == 10


def test_metadata_that_promises_images_which_are_not_there_is_an_error(tmp_path: Path) -> None:
    record(tmp_path / "bag", drive(10), StoragePlugin.SQLITE3)
    with sqlite3.connect(tmp_path / "bag" / "bag.db3") as database:
        database.execute("DELETE FROM messages")
    database.close()
    with pytest.raises(BagError, match="0 of the 10 images"):
        read(tmp_path / "bag")


def test_fewer_images_than_promised_are_reported(tmp_path: Path) -> None:
    record(tmp_path / "bag", drive(10), StoragePlugin.SQLITE3)
    with sqlite3.connect(tmp_path / "bag" / "bag.db3") as database:
        database.execute("DELETE FROM messages WHERE id > 8")
    database.close()
    _, _, report = read(tmp_path / "bag")
    assert not report.complete
    assert "of the 10 images" in report.loss


def test_split_bag_with_one_cut_file_yields_the_others(tmp_path: Path) -> None:
    folder = tmp_path / "bag"
    folder.mkdir()
    for number in range(11):
        part = record(tmp_path / f"part{number}", drive(30)[3 * number : 3 * number + 3])
        shutil.copy(part, folder / f"bag_{number}.mcap")
    cut = folder / "bag_4.mcap"
    cut.write_bytes(cut.read_bytes()[:4000])
    frames, _, report = read(folder)
    assert 27 <= len(frames) < 30
    assert [frame.published_ns for frame in frames] == sorted(f.published_ns for f in frames)
    assert "bag_4.mcap" in report.loss


def test_missing_file_of_a_split_bag_is_reported(tmp_path: Path) -> None:
    record(tmp_path / "bag", drive(10))
    metadata = tmp_path / "bag" / "metadata.yaml"
    text = metadata.read_text()
    metadata.write_text(
        text.replace("relative_file_paths:\n", "relative_file_paths:\n  - ../../bag_1.mcap\n")
    )
    _, _, report = read(tmp_path / "bag")
    assert report.frames_read == 10
    assert report.loss == "bag_1.mcap: the file is missing"


def test_listed_file_of_an_impossible_name_is_missing(tmp_path: Path) -> None:
    record(tmp_path / "bag", drive(10))
    metadata = tmp_path / "bag" / "metadata.yaml"
    name = f"{'a' * 300}.mcap"
    text = metadata.read_text()
    metadata.write_text(text.replace("file_paths:\n", f"file_paths:\n  - {name}\n"))
    _, _, report = read(tmp_path / "bag")
    assert report.frames_read == 10
    assert report.loss == f"{name}: the file is missing"


def test_listed_file_that_was_unpacked_is_read(tmp_path: Path) -> None:
    file = record(tmp_path / "bag", drive(10))
    metadata = tmp_path / "bag" / "metadata.yaml"
    packed = f"{file.name}.zstd\n"
    text = metadata.read_text().replace(f"- {file.name}\n", f"- {packed}  - {file.name}\n")
    assert packed in text
    metadata.write_text(text)
    _, _, report = read(tmp_path / "bag")
    assert report.frames_read == 10
    assert report.complete


def test_topic_of_another_serialization_is_named_so(tmp_path: Path) -> None:
    file = record(tmp_path / "bag", drive(10))
    content = file.read_bytes()
    cdr = b"\x03\x00\x00\x00cdr"
    assert cdr in content
    file.write_bytes(content.replace(cdr, cdr.replace(b"cdr", b"xml")))
    with pytest.raises(
        BagError, match=re.escape("/camera/image_raw (sensor_msgs/msg/Image as 'xml')")
    ):
        read(file)


def test_bag_without_image_topic_names_what_it_has(tmp_path: Path) -> None:
    record(tmp_path / "bag", [Item("/chatter", START_NS, "hello")])
    with pytest.raises(BagError, match=re.escape("/chatter (std_msgs/msg/String)")):
        read(tmp_path / "bag")


def test_broken_message_is_counted_not_fatal(tmp_path: Path) -> None:
    record(tmp_path / "bag", drive(10), StoragePlugin.SQLITE3)
    with sqlite3.connect(tmp_path / "bag" / "bag.db3") as database:
        database.execute("UPDATE messages SET data = x'00010000ffffffff' WHERE id IN (4, 5)")
    database.close()
    _, _, report = read(tmp_path / "bag")
    assert report.frames_read == 8
    assert "2 messages are broken" in report.loss


@pytest.mark.parametrize(
    "name", ["nothing", "empty", "file.txt", "empty.mcap", "bad.db3", "x.bag"]
)
def test_what_is_no_bag_is_one_clear_error(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "empty":
        path.mkdir()
    elif name != "nothing":
        path.write_bytes(b"" if name.startswith("empty") else b"this is no bag" * 100)
    with pytest.raises(BagError, match=re.escape(str(path))):
        read(path)


def test_closing_early_is_clean(tmp_path: Path) -> None:
    record(tmp_path / "bag", drive(10))
    reading = read_bag(tmp_path / "bag")
    next(reading)
    reading.close()
    assert not reading.report.complete
    assert list(reading) == []
