"""The dataset on disk: storing, opening, telling what is there."""

from __future__ import annotations

import re
import sqlite3
import threading
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from stored_samples import agree, images, new

from fl_robot_ros.capture.new_sample import NewSample
from fl_robot_ros.dataset.dataset import Dataset
from fl_robot_ros.dataset.retention import Limits
from fl_robot_ros.dataset.sample import Sample
from fl_robot_ros.dataset.sample_files import StagingFolder
from fl_robot_ros.errors import DatasetError


def agree_with_pool(dataset: Dataset) -> bool:
    rows = {sample.path for sample in dataset.samples() + dataset.unlabelled()}
    return rows == {name for name in images(dataset.path) if "/" in name}


def test_samples_are_files_in_folders_of_their_labels(tmp_path: Path) -> None:
    with Dataset(tmp_path / "data") as dataset:
        assert dataset.add([new(1), new(2, "stop sign"), new(3)]) == ["kept"] * 3
        assert dataset.counts() == {"cat": 2, "stop sign": 1}
        assert len(dataset) == 3
        assert dataset.disk_bytes() == 300
        assert dataset.last_id() == 3
        samples = dataset.samples()
        assert samples[1] == Sample(
            2, "stop sign", "/camera", 2, samples[1].path, sha256(bytes([2]) * 100).hexdigest()
        )
        assert re.fullmatch(r"stop sign/2_[0-9a-f]{8}\.jpg", samples[1].path)
        assert (dataset.path / samples[1].path).read_bytes() == bytes([2]) * 100
        assert [sample.id for sample in dataset.samples(max_id=2)] == [1, 2]
        assert agree(dataset)


def test_nothing_is_stored_twice(tmp_path: Path) -> None:
    with Dataset(tmp_path) as dataset:
        assert dataset.add([new(1), new(1), new(2)]) == ["kept", "already_stored", "kept"]
        # The first label of a frame stays.
        assert dataset.add([new(2, "dog"), new(3), new(1, topic="/rear")]) == [
            "already_stored",
            "kept",
            "kept",
        ]
        assert dataset.add([]) == []
        assert dataset.counts() == {"cat": 4}
        assert agree(dataset)
    with Dataset(tmp_path) as dataset:
        assert dataset.add([new(1), new(2), new(3)]) == ["already_stored"] * 3
        assert dataset.recovered == 0


def test_a_sample_of_the_review_pool_takes_the_label_that_it_comes_with_later(
    tmp_path: Path,
) -> None:
    with Dataset(tmp_path / "data", Limits(samples_per_label=3)) as dataset:
        dataset.add([new(1, ""), new(2, ""), new(3, "cat"), new(4, "")])
        again = [new(1, "dog"), new(2, "cat"), new(3, "dog"), new(4, ""), new(5, "dog")]
        outcomes = ["labelled", "labelled", "already_stored", "already_stored", "kept"]
        assert dataset.add(again) == outcomes
        labels = [sample.label for sample in dataset.samples()]
        assert (labels, dataset.counts()) == (["dog", "cat", "cat", "dog"], {"cat": 2, "dog": 2})
        assert [sample.id for sample in dataset.unlabelled()] == [4]
        assert agree_with_pool(dataset)
        # The limits hold for them too.
        dataset.add([new(6, ""), new(7, "")])
        assert dataset.add([new(6, "dog"), new(7, "dog")]) == ["labelled", "labelled"]
        assert dataset.counts() == {"cat": 2, "dog": 3}


def test_large_batch_does_not_run_out_of_open_files(tmp_path: Path) -> None:
    with Dataset(tmp_path) as dataset:
        assert {*dataset.add([new(number, size=10) for number in range(1500)])} == {"kept"}
        assert agree(dataset)


def test_numbers_are_there_after_opening_again(tmp_path: Path) -> None:
    with Dataset(tmp_path) as dataset:
        dataset.add([new(1), new(2, "dog", size=50)])
    with Dataset(tmp_path) as dataset:
        assert dataset.counts() == {"cat": 1, "dog": 1}
        assert dataset.disk_bytes() == 150
        assert dataset.last_id() == 2
    dataset.close()


@pytest.mark.parametrize("label", ["..", "a/b", "/etc", ".", "~", "con\u00e9"])
def test_no_label_leads_out_of_the_folder(tmp_path: Path, label: str) -> None:
    with Dataset(tmp_path / "data") as dataset:
        dataset.add([new(1, label)])
        assert agree(dataset)
    assert {item.name for item in tmp_path.iterdir()} == {"data"}


@pytest.mark.parametrize("sample", [new(1, "a\0b"), new(1, "x" * 65), new(1, " cat"), new(2**63)])
def test_invalid_sample_spoils_its_batch_only(tmp_path: Path, sample: Any) -> None:
    if sample.stamp_ns == 2**63:
        sample = NewSample("cat", "/camera", 2**63, b"x", 1, 1)
    with Dataset(tmp_path) as dataset:
        with pytest.raises(DatasetError):
            dataset.add([new(5), sample])
        assert dataset.counts() == {}
        assert dataset.add([new(5)]) == ["kept"]
        assert agree(dataset)


def test_label_folder_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    with Dataset(tmp_path / "data") as dataset:
        (dataset.path / "cat").symlink_to(tmp_path / "outside")
        with pytest.raises(DatasetError):
            dataset.add([new(1)])
        assert list((tmp_path / "outside").iterdir()) == []


def test_lost_index_does_not_cost_the_images(tmp_path: Path) -> None:
    with Dataset(tmp_path) as dataset:
        dataset.add([new(1), new(2)])
    for item in tmp_path.glob("index.sqlite3*"):
        item.unlink()
    for _ in range(2):
        with pytest.raises(DatasetError, match="2 images but no index"):
            Dataset(tmp_path)
    assert len(list(tmp_path.rglob("*.jpg"))) == 2


def test_broken_index_is_one_clear_error_and_nothing_is_deleted(tmp_path: Path) -> None:
    with Dataset(tmp_path) as dataset:
        dataset.add([new(1)])
    (tmp_path / "index.sqlite3").write_bytes(b"this is no database" * 100)
    with pytest.raises(DatasetError, match=re.escape(str(tmp_path))) as refused:
        Dataset(tmp_path)
    assert "move it away and have `fl_dataset check --repair` make a new one" in str(refused.value)
    assert len(list(tmp_path.rglob("*.jpg"))) == 1


def test_folders_that_become_empty_are_removed(tmp_path: Path) -> None:
    with Dataset(tmp_path) as dataset:
        dataset.add([new(1), new(2), new(3, "owl")])
        dataset.relabel([1], "dog")
        assert {item.name for item in tmp_path.iterdir() if item.is_dir()} == {
            *(".staging", "cat", "dog", "owl")
        }
        dataset.relabel([1, 2], "cat")
        dataset.remove([3])
        assert {item.name for item in tmp_path.iterdir() if item.is_dir()} == {".staging", "cat"}
        assert dataset.add([new(4, "owl")]) == ["kept"]
        assert agree(dataset)


def test_empty_folders_that_a_kill_left_are_removed_at_the_start(tmp_path: Path) -> None:
    with Dataset(tmp_path) as dataset:
        dataset.add([new(1)])
    for name in ("dog", ".review", "lost+found"):
        (tmp_path / name).mkdir()
    with Dataset(tmp_path) as dataset:
        folders = {item.name for item in tmp_path.iterdir() if item.is_dir()}
        assert folders == {"cat", ".staging", "lost+found"}
        assert agree(dataset)


def test_what_does_not_belong_to_it_stays_where_files_are_moved(tmp_path: Path) -> None:
    with Dataset(tmp_path) as dataset:
        foreign = tmp_path / ".staging" / ".nfs0000000000a"
        foreign.touch()
        (tmp_path / ".staging" / "1_0123abcd.jpg").mkdir()
        dataset.add([new(1)])
        # Nothing is to be settled: that would cost a look at every path with every write.
        assert StagingFolder(tmp_path).names() == []
    with Dataset(tmp_path) as dataset:
        assert dataset.recovered == 0
        assert foreign.exists()


def test_what_an_earlier_version_left_half_moved_is_settled(tmp_path: Path) -> None:
    with Dataset(tmp_path) as dataset:
        dataset.add([new(1), new(2)])
        path = tmp_path / dataset.samples()[0].path
    (tmp_path / ".moving").mkdir()
    path.rename(tmp_path / ".moving" / path.name)
    (tmp_path / ".moving" / "3_0123abcd.jpg").write_bytes(b"without a row")
    with Dataset(tmp_path) as dataset:
        assert dataset.recovered == 2
        assert agree(dataset)
    assert not (tmp_path / ".moving").exists()


def test_reading_needs_a_dataset_and_makes_none(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="there is no dataset in"):
        Dataset.open(tmp_path / "data", read_only=True)
    assert not (tmp_path / "data").exists()
    with Dataset.open(tmp_path / "data") as dataset:
        dataset.add([new(1)])
    with Dataset.open(tmp_path / "data", read_only=True) as reader:
        assert [sample.stamp_ns for sample in reader.samples()] == [1]


def test_newer_schema_is_refused(tmp_path: Path) -> None:
    Dataset(tmp_path).close()
    index = sqlite3.connect(tmp_path / "index.sqlite3")
    index.execute("PRAGMA user_version = 99")
    index.close()
    with pytest.raises(DatasetError, match="99"):
        Dataset(tmp_path)


def test_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match="cannot be opened"):
        Dataset(tmp_path / "file" / "data")


def test_two_may_have_it_open(tmp_path: Path) -> None:
    with Dataset(tmp_path) as first:
        first.add([new(1)])
        with Dataset(tmp_path) as second:
            assert second.counts() == {"cat": 1}
            assert second.add([new(1), new(2)]) == ["already_stored", "kept"]
            assert first.counts() == {"cat": 2}
        assert first.add([new(2)]) == ["already_stored"]
        assert agree(first)


def test_many_threads_store_and_read(tmp_path: Path) -> None:
    with Dataset(tmp_path) as dataset:

        def store(topic: str) -> None:
            for number in range(0, 60, 3):
                dataset.add([new(number + step, topic=topic, size=10) for step in range(3)])
                assert len(dataset.samples()) >= 3
                assert dataset.counts()["cat"] >= 3

        threads = [threading.Thread(target=store, args=(f"/camera{n}",)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert dataset.counts() == {"cat": 240}
        assert dataset.last_id() == 240
        assert agree(dataset)


def test_groups_count_by_label_and_camera(tmp_path: Path) -> None:
    with Dataset(tmp_path) as dataset:
        dataset.add([new(1), new(5), new(3, topic="/rear", size=7), new(2, "")])
        assert dataset.groups() == [
            ("", "/camera", 1, 100, 2, 2),
            ("cat", "/camera", 2, 200, 1, 5),
            ("cat", "/rear", 1, 7, 3, 3),
        ]


def test_a_dataset_says_whether_it_is_open_elsewhere(tmp_path: Path) -> None:
    with Dataset(tmp_path) as dataset:
        with dataset.exclusive() as is_exclusive:
            assert is_exclusive
        with Dataset(tmp_path), dataset.exclusive() as is_exclusive:
            assert not is_exclusive
        with dataset.exclusive() as is_exclusive:
            assert is_exclusive


def seen(stamp_ns: int, published_ns: int, digest: str, label: str = "cat") -> NewSample:
    content = f"{digest} {published_ns}".encode()
    return NewSample(label, "/camera", stamp_ns, content, 4, 3, published_ns, digest)


def test_frames_that_share_a_stamp_are_told_apart_by_what_they_show(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    frames = [seen(7, 1001, "a"), seen(7, 1002, "b"), seen(8, 1003, "c"), seen(7, 1004, "")]
    with Dataset(tmp_path) as dataset:
        assert dataset.add(frames) == ["kept", "kept", "kept", "already_stored"]
        assert [sample.stamp_ns for sample in dataset.samples()] == [7, 1002, 8]
        # Alone, together and in another order, and however they are encoded now.
        assert dataset.add([seen(7, 1002, "b", "dog")]) == ["already_stored"]
        again = [item._replace(image_bytes=b"other") for item in reversed(frames)]
        assert dataset.add(again) == ["already_stored"] * 4
        # Played again, at another time.
        assert dataset.add([seen(7, 2001, "a")]) == ["already_stored"]
        # A simulation that begins anew.
        assert dataset.add([seen(7, 3001, "d"), seen(8, 3002, "e")]) == ["kept", "kept"]
        assert agree(dataset)
    (message,) = caplog.messages
    assert message.startswith("topic /camera: two frames with different images have the stamp 0.0")


def test_a_label_finds_a_frame_of_the_review_pool_that_shares_its_stamp(tmp_path: Path) -> None:
    with Dataset(tmp_path) as dataset:
        dataset.add([seen(7, 1001, "a", ""), seen(7, 1002, "b", "")])
        assert dataset.add([seen(7, 1002, "b", "dog")]) == ["labelled"]
        assert [(sample.label, sample.stamp_ns) for sample in dataset.samples()] == [("dog", 1002)]


def test_an_index_of_the_version_before_is_brought_up_to_date(tmp_path: Path) -> None:
    with Dataset(tmp_path) as dataset:
        dataset.add([seen(7, 1001, "a")])
    index = sqlite3.connect(tmp_path / "index.sqlite3")
    index.execute("ALTER TABLE samples DROP COLUMN frame_digest")
    index.execute("PRAGMA user_version = 2")
    index.close()
    with Dataset(tmp_path) as dataset:
        # What a sample of before showed nobody knows.
        assert dataset.add([seen(7, 1002, "b"), seen(8, 1003, "c")]) == ["already_stored", "kept"]
