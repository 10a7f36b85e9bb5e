"""Looking at every file of a dataset."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from fl_robot_ros.capture.new_sample import NewSample
from fl_robot_ros.curation.check import CheckReport, check_dataset, repair_dataset
from fl_robot_ros.curation.image_export import export_folder
from fl_robot_ros.dataset.dataset import Dataset


def jpeg(seed: int) -> bytes:
    image = np.random.default_rng(seed).integers(0, 255, (12, 16, 3), np.uint8)
    return bytes(cv2.imencode(".jpg", image)[1])


def new(number: int, label: str = "cat") -> NewSample:
    return NewSample(label, "/camera", number, jpeg(number), 16, 12)


def paths(dataset: Dataset) -> dict[int, Path]:
    everything = dataset.samples() + dataset.unlabelled()
    return {sample.stamp_ns: dataset.path / sample.path for sample in everything}


def test_a_sound_dataset_is_sound(tmp_path: Path) -> None:
    seen = []
    with Dataset(tmp_path) as dataset:
        dataset.add([new(1), new(2, "dog"), new(3, "")])
        report = check_dataset(dataset, on_progress=lambda done, total: seen.append((done, total)))
    assert report == CheckReport(samples=3)
    assert report.is_sound
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_every_kind_of_damage_is_found_and_mended(tmp_path: Path) -> None:
    with Dataset(tmp_path) as dataset:
        dataset.add([new(number) for number in range(6)] + [new(10, "")])
        files = paths(dataset)
        files[0].unlink()
        files[1].write_bytes(b"")
        files[2].write_bytes(files[2].read_bytes()[:20])
        files[3].write_bytes(jpeg(333))
        (tmp_path / "cat" / "77_0123abcd.jpg").write_bytes(jpeg(77))
        (tmp_path / "stop sign").mkdir()
        (tmp_path / "stop sign" / "-5_0123abcd.jpg").write_bytes(jpeg(5))
        (tmp_path / "cat" / "78_0123abcd.jpg").write_bytes(b"no image")
        (tmp_path / "cat" / "holiday.jpg").write_bytes(b"foreign")
        (tmp_path / "notes.txt").write_text("foreign")

        found = check_dataset(dataset)
        assert {sample.stamp_ns for sample in found.missing} == {0}
        assert {sample.stamp_ns for sample in found.broken} == {1, 2}
        assert {sample.stamp_ns for sample in found.altered} == {3}
        assert found.stray == ["cat/77_0123abcd.jpg", "stop sign/-5_0123abcd.jpg"]
        assert found.rubbish == ["cat/78_0123abcd.jpg"]
        assert found.foreign == 2
        assert not found.is_sound

        assert repair_dataset(dataset) == found
        assert check_dataset(dataset) == CheckReport(samples=6, foreign=2)
        assert dataset.counts() == {"cat": 4, "stop sign": 1}
        assert dataset.num_unlabelled() == 1
        assert (tmp_path / "cat" / "holiday.jpg").exists()


def test_a_sample_that_was_moved_by_hand_keeps_its_camera(tmp_path: Path) -> None:
    with Dataset(tmp_path) as dataset:
        dataset.add([new(1), new(2), new(3, "dog")])
        file = paths(dataset)[1]
        file.rename(tmp_path / "dog" / file.name)
        assert not repair_dataset(dataset).unrepaired
        found = {(item.stamp_ns, item.label, item.topic) for item in dataset.samples()}
    assert found == {(1, "dog", "/camera"), (2, "cat", "/camera"), (3, "dog", "/camera")}


def test_a_lost_index_is_made_anew(tmp_path: Path) -> None:
    with Dataset(tmp_path) as dataset:
        dataset.add([new(1), new(2, "stop sign"), new(3, "")])
    for item in tmp_path.glob("index.sqlite3*"):
        item.unlink()
    with Dataset(tmp_path, for_repair=True) as dataset:
        repair_dataset(dataset)
        assert dataset.counts() == {"cat": 1, "stop sign": 1}
        assert dataset.num_unlabelled() == 1
        assert sorted(paths(dataset)) == [1, 2, 3]
        assert check_dataset(dataset).is_sound


def test_what_others_do_meanwhile_is_no_fault(tmp_path: Path) -> None:
    with Dataset(tmp_path) as dataset, Dataset(tmp_path) as other:
        dataset.add([new(number) for number in range(5)])
        samples = dataset.samples()

        def capture(done: int, total: int) -> None:
            if done == 1:
                other.add([new(10), new(11, "dog")])
                other.remove([samples[1].id])
                other.relabel([samples[2].id], "owl")

        assert check_dataset(dataset, on_progress=capture).is_sound


def test_what_cannot_be_mended_is_named(tmp_path: Path) -> None:
    with Dataset(tmp_path) as dataset:
        dataset.add([new(1), new(2)])
        # A frame in two folders, neither of which the index knows.
        for folder in ("dog", "owl"):
            (tmp_path / folder).mkdir()
            (tmp_path / folder / "77_0123abcd.jpg").write_bytes(jpeg(77))
        (tmp_path / " no label").mkdir()
        (tmp_path / " no label" / "78_0123abcd.jpg").write_bytes(jpeg(78))
        # No stamp has so many bits, so it is no name of ours.
        (tmp_path / "dog" / "9999999999999999999_0123abcd.jpg").write_bytes(jpeg(79))
        report = repair_dataset(dataset)
        assert report.unrepaired == [" no label/78_0123abcd.jpg", "owl/77_0123abcd.jpg"]
        assert report.foreign == 1
        assert dataset.counts() == {"cat": 2, "dog": 1}


def test_a_copy_of_a_sample_in_another_folder_is_named_and_left(tmp_path: Path) -> None:
    with Dataset(tmp_path) as dataset:
        dataset.add([new(1)])
        (sample,) = dataset.samples()
        name = sample.path.rpartition("/")[2]
        (tmp_path / "dog").mkdir()
        (tmp_path / "dog" / name).write_bytes((tmp_path / sample.path).read_bytes())
        assert repair_dataset(dataset).unrepaired == [f"dog/{name}"]
        # Two files of one name could not be moved to one folder.
        assert dataset.relabel([1], "box") == 1
        assert (tmp_path / "box" / name).is_file()


def test_an_unreadable_file_is_neither_gone_nor_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Dataset(tmp_path) as dataset:
        dataset.add([new(1), new(2)])
        (sample, _) = dataset.samples()
        read = Path.read_bytes

        def failing(path: Path) -> bytes:
            if path.name == Path(sample.path).name:
                raise OSError(5, "Input/output error")
            return read(path)

        monkeypatch.setattr(Path, "read_bytes", failing)
        report = repair_dataset(dataset)
        assert report.unreadable == [sample]
        assert report.unrepaired == [sample.path]
        assert len(dataset) == 2


@pytest.mark.parametrize("name", ["../outside", "lost+found", "a/b"])
def test_a_foreign_folder_is_left_alone(tmp_path: Path, name: str) -> None:
    with Dataset(tmp_path / "data") as dataset:
        folder = tmp_path / "data" / name.replace("../", "..")
        folder.mkdir(parents=True)
        (folder / "1_0123abcd.jpg").write_bytes(jpeg(1))
        repair_dataset(dataset)
        assert len(dataset) == 0
        assert (folder / "1_0123abcd.jpg").exists()


def test_frames_that_come_again_after_the_index_was_lost_are_known(tmp_path: Path) -> None:
    with Dataset(tmp_path) as dataset:
        dataset.add([new(1), new(2, "")])
    for item in tmp_path.glob("index.sqlite3*"):
        item.unlink()
    with Dataset(tmp_path, for_repair=True) as dataset:
        repair_dataset(dataset)
        assert dataset.add([new(1), new(2, "")]) == ["already_stored"] * 2
        # Their topic is lost, but their files' names tell which frames they are.
        assert dataset.add([new(1, "dog"), new(2, "dog"), new(3, "dog")]) == [
            "already_stored",
            "labelled",
            "kept",
        ]
        assert dataset.relabel([sample.id for sample in dataset.samples()], "owl") == 3
        assert {stamp: path.parent.name for stamp, path in paths(dataset).items()} == {
            1: "owl",
            2: "owl",
            3: "owl",
        }
        assert check_dataset(dataset).is_sound


OLD_NAMES = {"\u6258\u76d8": "%E6%89%98%E7%9B%98", "1.5": "1%2E5"}


def old_dataset(path: Path) -> Path:
    """Make a dataset whose folders are named as an earlier version did."""
    labels = [*OLD_NAMES, "cat", "", *OLD_NAMES, *OLD_NAMES]
    with Dataset(path) as dataset:
        dataset.add([new(number, label) for number, label in enumerate(labels)])
    index = sqlite3.connect(path / "index.sqlite3")
    for label, name in OLD_NAMES.items():
        (path / label).rename(path / name)
        index.execute("UPDATE samples SET path = replace(path, ?, ?)", (f"{label}/", f"{name}/"))
    index.commit()
    index.close()
    return path


def stored(dataset: Dataset) -> dict[int, tuple[str, bytes]]:
    """Return label and file of every sample by its stamp."""
    everything = dataset.samples() + dataset.unlabelled()
    return {
        item.stamp_ns: (item.label, (dataset.path / item.path).read_bytes()) for item in everything
    }


def test_folders_of_an_earlier_version_work_and_a_repair_renames_them(tmp_path: Path) -> None:
    data = old_dataset(tmp_path / "data")
    with Dataset(data) as dataset:
        before = stored(dataset)
        assert check_dataset(dataset).is_sound
        assert dataset.add([new(0, "1.5"), new(50, "1.5")]) == ["already_stored", "kept"]
        (data / "1%2E5" / "77_0123abcd.jpg").write_bytes(jpeg(77))
        export_folder(dataset, tmp_path / "out")
        assert {item.name for item in (tmp_path / "out").iterdir()} == {
            *OLD_NAMES,
            *("cat", "samples.csv"),
        }
        report = repair_dataset(dataset)
        assert report.old_folders == sorted(OLD_NAMES.values())
        assert {item.name for item in data.iterdir() if item.is_dir()} == {
            *OLD_NAMES,
            *(".review", ".staging", "cat"),
        }
        after = stored(dataset)
        assert after == {**before, 50: ("1.5", jpeg(50)), 77: ("1.5", jpeg(77))}
        assert check_dataset(dataset) == CheckReport(samples=10)


KILLED_REPAIRS = """
import os, shutil, signal, sys
from pathlib import Path
from fl_robot_ros.curation.check import repair_dataset
from fl_robot_ros.dataset.dataset import Dataset
from fl_robot_ros.dataset.index_writer import IndexWriter

def repair(path, step):
    steps = 0
    def killed_before(real):
        def function(*arguments):
            nonlocal steps
            steps += 1
            if steps == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments)
        return function
    dataset = Dataset(path, for_repair=True)
    for owner, name in ((os, "rename"), (os, "fsync"), (IndexWriter, "commit")):
        setattr(owner, name, killed_before(getattr(owner, name)))
    repair_dataset(dataset)

step, status = 0, signal.SIGKILL
while status == signal.SIGKILL:
    step += 1
    path = shutil.copytree(sys.argv[1], Path(sys.argv[2], str(step)))
    child = os.fork()
    if not child:
        repair(path, step)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
sys.exit(status)
"""


def test_a_killed_repair_loses_nothing_and_the_next_one_finishes_it(tmp_path: Path) -> None:
    source = old_dataset(tmp_path / "data")
    with Dataset(source) as dataset:
        before = stored(dataset)
    copies = tmp_path / "copies"
    copies.mkdir()
    command = [sys.executable, "-c", KILLED_REPAIRS, str(source), str(copies)]
    subprocess.run(command, check=True, timeout=120)
    steps = list(copies.iterdir())
    # Two labels of three samples: each withdrawn, committed, placed, in a new folder.
    assert len(steps) > 2 * (3 + 1 + 3 + 1)
    for path in steps:
        with Dataset(path, for_repair=True) as dataset:
            assert stored(dataset) == before
            repair_dataset(dataset)
            assert stored(dataset) == before
            assert check_dataset(dataset) == CheckReport(samples=8)
