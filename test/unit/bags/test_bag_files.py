"""The files of a bag, and what its metadata says of them."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from bag_reader import read
from bag_recorder import START_NS, drive, images_of, record
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2.enums import CompressionMode

from fl_robot_ros.bags.bag import open_bag
from fl_robot_ros.errors import BagError
from fl_robot_ros.playback.bag_source import BagSource

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


@pytest.mark.parametrize(
    "start", ["-1", "9223372036854775807", "9223372036854775808", "soon", "true", "[]"]
)
def test_odd_beginning_in_the_metadata_is_taken_from_the_file(tmp_path: Path, start: str) -> None:
    record(tmp_path / "bag", drive(4))
    metadata = tmp_path / "bag" / "metadata.yaml"
    text = re.sub(r"(nanoseconds_since_epoch: )\d+", rf"\g<1>{start}", metadata.read_text())
    metadata.write_text(text)
    assert read(tmp_path / "bag")[2].start_ns == START_NS - 1_000_000


@pytest.mark.parametrize("storage", list(StoragePlugin))
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


def test_file_that_a_killed_recorder_did_not_list_is_read(tmp_path: Path) -> None:
    items = drive(30)
    # Of the last file there is no end, and it was not compressed yet.
    modes = [CompressionMode.FILE] * 9 + [CompressionMode.NONE] * 2
    names = []
    (tmp_path / "bag").mkdir()
    for number, mode in enumerate(modes):
        some = items[3 * number : 3 * number + 3] if number < 10 else items[30:]
        part = record(tmp_path / f"part{number}", some, compression=mode)
        names.append(f"bag_{number}{''.join(part.suffixes)}")
        shutil.copy(part, tmp_path / "bag" / names[-1])
    last = tmp_path / "bag" / names[-1]
    last.write_bytes(last.read_bytes()[:-1500])
    text = (tmp_path / "part0" / "metadata.yaml").read_text()
    listed = "".join(f"  - {name}\n" for name in names[:9])
    text = re.sub(r"(relative_file_paths:\n)  - .*\n", rf"\1{listed}", text)
    (tmp_path / "bag" / "metadata.yaml").write_text(text)
    frames, labels, report = read(tmp_path / "bag")
    assert [frame.published_ns for frame in frames] == [item.time_ns for item in images_of(items)]
    assert len(labels) == 2
    assert report.loss.startswith("bag_10.mcap: it ends in mid-recording")


@pytest.mark.parametrize("name", ["rear_0.mcap", "bag.mcap", "bag_0.db3", "bag_0_old.mcap"])
def test_file_of_another_bag_is_not_read_and_named(tmp_path: Path, name: str) -> None:
    file = record(tmp_path / "bag", drive(10))
    metadata = tmp_path / "bag" / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace(f"- {file.name}\n", "- bag_0.mcap\n"))
    listed = file.rename(file.with_name("bag_0.mcap"))
    shutil.copy(listed, tmp_path / "bag" / name)
    frames, _, report = read(tmp_path / "bag")
    loss = f"{name}: it was not read, as metadata.yaml does not list it; read it by itself"
    assert (len(frames), report.loss) == (10, loss)
    source = BagSource(tmp_path / "bag")
    assert source.skipped == [loss]
    source.close()


def test_listed_file_that_lies_there_packed_and_unpacked_is_read_once(tmp_path: Path) -> None:
    file = record(tmp_path / "bag", drive(10), compression=CompressionMode.FILE)
    plain = record(tmp_path / "plain", drive(10))
    shutil.copy(plain, file.with_suffix(""))
    _, _, report = read(tmp_path / "bag")
    assert report.frames_read == 10
    assert report.complete


def test_beginning_of_a_part_is_that_of_its_bag(tmp_path: Path) -> None:
    items = drive(20)
    file = record(tmp_path / "bag", items[:11])
    metadata = tmp_path / "bag" / "metadata.yaml"
    part = tmp_path / "bag" / "bag_1.mcap"
    shutil.copy(record(tmp_path / "second", items[11:]), part)
    text = metadata.read_text()
    assert read(part)[2].start_ns == items[11].time_ns
    metadata.write_text(text.replace(f"- {file.name}\n", f"- {file.name}\n  - bag_1.mcap\n"))
    for path in (part, file, tmp_path / "bag"):
        assert read(path)[2].start_ns == items[0].time_ns


def test_several_recordings_in_one_folder_are_named_and_not_mixed(tmp_path: Path) -> None:
    (tmp_path / "bags").mkdir()
    for name in ("drive1", "drive2"):
        file = record(tmp_path / name, drive(4))
        file.rename(tmp_path / "bags" / f"{name}.mcap")
    with pytest.raises(BagError, match=r"several recordings: drive1\.mcap, drive2\.mcap; read"):
        open_bag(tmp_path / "bags")
    assert len(list(open_bag(tmp_path / "bags" / "drive1.mcap"))) == 6
