"""One dataset, several processes: index and files agree whoever writes, and whoever is killed."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from stored_samples import new

from fl_robot_ros.curation.check import check_dataset
from fl_robot_ros.dataset import dataset as dataset_module
from fl_robot_ros.dataset.dataset import Dataset
from fl_robot_ros.dataset.retention import Limits
from fl_robot_ros.dataset.sample_files import STAGING_NAME, WRITE_LOCK_NAME, StagingFolder
from fl_robot_ros.errors import DatasetError
from fl_robot_ros.process_lock import ProcessLock

_OPEN = """
import sys
from pathlib import Path
from fl_robot_ros.dataset.dataset import Dataset
sys.stdin.readline()
for number in range(20):
    Dataset(Path(sys.argv[1], str(number))).close()
"""
_RELABEL = """
import sys, time
from pathlib import Path
from fl_robot_ros.dataset.sample_files import StagingFolder
from fl_robot_ros.dataset.dataset import Dataset
withdraw = StagingFolder.withdraw
StagingFolder.withdraw = lambda self, paths: (withdraw(self, paths), time.sleep(0.02))
with Dataset(Path(sys.argv[1])) as dataset:
    print("open", flush=True)
    while not dataset.counts().get("end"):
        dataset.relabel([sample.id for sample in dataset.unlabelled()], "pallet")
"""


def python(program: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def assert_sound(dataset: Dataset) -> None:
    """Assert that every row has its file and every file its row."""
    report = check_dataset(dataset)
    assert (report.missing, report.stray, report.rubbish) == ([], [], [])


def test_one_process_stores_and_evicts_while_another_gives_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = StagingFolder.place

    def place_later(self: StagingFolder, paths: Iterable[str]) -> None:
        # Both sides take their time between two steps, so that the other's steps may come between.
        time.sleep(0.01)
        place(self, paths)

    monkeypatch.setattr(StagingFolder, "place", place_later)
    with Dataset(tmp_path, Limits(samples_per_label=100, unlabelled=100)) as dataset:
        other = python(_RELABEL, tmp_path)
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        for batch in range(40):
            numbers = range(16 * batch, 16 * batch + 16)
            dataset.add([new(number, "pallet" if number % 2 else "") for number in numbers])
        dataset.add([new(10**6, "end")])
        output, _ = other.communicate(timeout=60)
        assert (other.returncode, output) == (0, "")
        assert_sound(dataset)


def test_a_new_dataset_is_made_by_one_of_those_who_open_it(tmp_path: Path) -> None:
    others = [python(_OPEN, tmp_path) for _ in range(3)]
    results = [other.communicate("\n", timeout=60)[0] for other in others]
    assert [other.returncode for other in others] == [0, 0, 0], results


def test_opening_waits_for_another_that_writes(tmp_path: Path) -> None:
    with Dataset(tmp_path) as first:
        first.add([new(1)])
        on_its_way = tmp_path / STAGING_NAME / "78_0123abcd.jpg"
        recovered: list[int] = []

        def open_too() -> None:
            with Dataset(tmp_path) as second:
                recovered.append(second.recovered)

        with ProcessLock(tmp_path / WRITE_LOCK_NAME).exclusive():
            on_its_way.write_bytes(b"on its way")
            opener = threading.Thread(target=open_too)
            opener.start()
            opener.join(0.3)
            assert not recovered
            assert on_its_way.exists()
        # Nobody has it under way any more.
        opener.join(30)
        assert recovered == [1]
        assert not on_its_way.exists()


def test_one_that_writes_without_end_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset_module, "_WRITE_TIMEOUT_SEC", 0.1)
    with Dataset(tmp_path) as dataset:
        lock = ProcessLock(tmp_path / WRITE_LOCK_NAME)
        with lock.exclusive(), pytest.raises(DatasetError, match=r"another process .* for 0\.1 s"):
            dataset.add([new(1)])
        lock.close()
        assert dataset.add([new(1)]) == ["kept"]


def test_what_a_killed_process_left_half_moved_is_settled_by_the_next_write(
    tmp_path: Path,
) -> None:
    with Dataset(tmp_path) as dataset:
        dataset.add([new(1), new(2)])
        # As a process leaves it that is killed while it changes a label.
        sample = dataset.samples()[0]
        name = sample.path.rpartition("/")[2]
        (tmp_path / sample.path).rename(tmp_path / STAGING_NAME / name)
        dataset.add([new(3)])
        assert (tmp_path / sample.path).is_file()
        assert_sound(dataset)


def test_limits_hold_for_labels_that_another_process_gave(tmp_path: Path) -> None:
    with Dataset(tmp_path, Limits(samples_per_label=10)) as client:
        client.add([new(number, "") for number in range(30)])
        with Dataset(tmp_path) as tool:
            tool.relabel([sample.id for sample in tool.unlabelled()], "pallet")
            assert client.counts() == {"pallet": 30}
        client.add([new(100, "person")])
        assert client.counts() == {"person": 1, "pallet": 10}
        assert_sound(client)


def test_an_empty_index_beside_images_is_refused_as_a_lost_one(tmp_path: Path) -> None:
    with Dataset(tmp_path) as dataset:
        dataset.add([new(1)])
    for item in tmp_path.glob("index.sqlite3*"):
        item.write_bytes(b"")
    with pytest.raises(DatasetError, match=r"1 images but no index"):
        Dataset(tmp_path)
