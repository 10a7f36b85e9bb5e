"""A folder of class folders as learning data."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_source import make_source, open_data

from fl_robot_ros.capture.new_sample import NewSample
from fl_robot_ros.dataset.dataset import Dataset
from fl_robot_ros.dataset.snapshot import freeze, hash_samples
from fl_robot_ros.errors import DatasetError
from fl_robot_ros.images.preprocessing import Preprocessing
from fl_robot_ros.learning.file_data import open_image_folder, open_snapshot

CLASSES = ("blue", "red")
COLOURS = {"blue": (0, 0, 200), "red": (200, 0, 0)}
INPUT = Preprocessing(height=6, width=8, channels=3, scale=1 / 255)


def write(folder: Path, label: str, count: int, suffix: str = ".png") -> None:
    """Write images of one colour, each of its own brightness and size."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        image = np.zeros((20 + number, 30, 3), np.uint8)
        image[:] = np.clip(np.array(COLOURS.get(label, (9, 9, 9))) + number, 0, 255)
        encoded = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1]
        (folder / f"{number}{suffix}").write_bytes(encoded.tobytes())


def test_a_share_of_each_class_is_held_out(tmp_path: Path) -> None:
    for label in CLASSES:
        write(tmp_path / label, label, 10)
    train, holdout = open_data(make_source("folder", str(tmp_path), holdout_fraction=0.3)).load(
        CLASSES, INPUT
    )
    assert train.class_counts(2) == [7, 7]
    assert holdout.class_counts(2) == [3, 3]
    assert train.images.shape == (14, 6, 8, 3)
    seen = set()
    for side in (train, holdout):
        for image, number in zip(side.images, side.labels, strict=True):
            channel = {"blue": 2, "red": 0}[CLASSES[number]]
            assert 200 <= int(image[..., channel].min()) <= 210  # RGB
            seen.add((int(number), int(image[0, 0, channel])))
    assert len(seen) == 20  # no image on both sides
    again, _ = open_image_folder(tmp_path, 0.3).load(CLASSES, INPUT)
    assert np.array_equal(again.images, train.images)


@pytest.mark.parametrize(
    ("train_name", "name"),
    [
        *(("train", name) for name in ("test", "validation", "val", "valid", "dev")),
        *(("Training", "Testing"), ("Train", "Val")),
    ],
)
def test_a_split_of_the_folder_is_kept(tmp_path: Path, train_name: str, name: str) -> None:
    for label in CLASSES:
        write(tmp_path / train_name / label, label, 5)
        write(tmp_path / name / label, label, 3)
    train, holdout = open_image_folder(tmp_path, 0.2).load(CLASSES, INPUT)
    assert (train.class_counts(2), holdout.class_counts(2)) == ([5, 5], [3, 3])


def test_a_train_folder_alone_is_split(tmp_path: Path) -> None:
    for label in CLASSES:
        write(tmp_path / "train" / label, label, 10)
    train, holdout = open_image_folder(tmp_path, 0.2).load(CLASSES, INPUT)
    assert (train.class_counts(2), holdout.class_counts(2)) == ([8, 8], [2, 2])


@pytest.mark.parametrize("classes", [("bus", "train"), ("test", "train")])
def test_classes_may_be_named_like_a_split(tmp_path: Path, classes: tuple[str, str]) -> None:
    # One beside another class is a class, and in an export all are.
    for label in classes:
        write(tmp_path / label, label, 5)
    if "test" in classes:
        (tmp_path / "samples.csv").touch()
    train, holdout = open_image_folder(tmp_path, 0.2).load(classes, INPUT)
    assert (train.class_counts(2), holdout.class_counts(2)) == ([4, 4], [1, 1])


def test_hostile_names_and_broken_images_are_counted(tmp_path: Path) -> None:
    write(tmp_path / "RED", "red", 4, ".jpg")
    write(tmp_path / "blue" / "deep" / "down", "blue", 4)
    write(tmp_path / "tab\tlabel", "none", 2)
    write(tmp_path / ("x" * 200), "none", 2)
    write(tmp_path / "%2E%2E", "none", 2)
    write(tmp_path / ".hidden", "none", 2)
    write(tmp_path, "none", 2)
    write(tmp_path / os.fsdecode(b"latin\xe9"), "none", 2)
    red = tmp_path / "RED"
    (red / "0.jpg").rename(red / os.fsdecode(b"\n' \xff%s.jpg"))
    (tmp_path / "blue" / "empty.png").touch()
    (tmp_path / "blue" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    (tmp_path / "blue" / "truncated.jpg").write_bytes((red / "1.jpg").read_bytes()[:200])
    (tmp_path / "blue" / "dangling.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "blue" / "notes.txt").write_text("no image")
    train, holdout = open_image_folder(tmp_path, 0.25).load(CLASSES, INPUT)
    counts = np.add(train.class_counts(2), holdout.class_counts(2))
    assert counts.tolist() == [4, 4]
    assert train.unreadable + holdout.unreadable == 3
    unmapped = train.unmapped + holdout.unmapped
    assert set(unmapped.values()) == {2}
    assert set(unmapped) == {"", "..", r"'tab\tlabel'", f"'{'x' * 200}'", r"'latin\udce9'"}
    assert all(label.isprintable() for label in unmapped)


def test_class_folders_that_are_links_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "data" / "red", "red", 4)
    write(tmp_path / "elsewhere" / "blue", "blue", 4)
    (tmp_path / "data" / "blue").symlink_to(tmp_path / "elsewhere" / "blue")
    for number in range(30):
        (tmp_path / "data" / "red" / f"{number}.gif").touch()
    train, holdout = open_image_folder(tmp_path / "data", 0.25).load(CLASSES, INPUT)
    assert np.add(train.class_counts(2), holdout.class_counts(2)).tolist() == [0, 4]
    told = [record.getMessage() for record in caplog.records]
    link = tmp_path / "data" / "blue"
    assert told == [
        f"{link.parent}: left out: blue: is a link to a folder; links are not followed",
        f"{link.parent}: left out: red/0.gif, red/1.gif, red/10.gif, red/11.gif and 26 more: .gif "
        f"files are not supported",
    ]


def test_what_is_on_no_side_of_a_split_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, count in (("train", 5), ("valid", 4), ("test", 3)):
        for label in CLASSES:
            write(tmp_path / name / label, label, count)
    train, holdout = open_image_folder(tmp_path, 0.2).load(CLASSES, INPUT)
    assert (train.class_counts(2), holdout.class_counts(2)) == ([5, 5], [3, 3])
    (told,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "8 images are not used: their split is neither train nor test" in told


def test_images_directly_in_split_folders_have_no_label(tmp_path: Path) -> None:
    for name in ("train", "test"):
        write(tmp_path / name, "red", 2)
    with pytest.raises(DatasetError, match=r"no image in .* has a label; .* split folders train"):
        open_image_folder(tmp_path, 0.2)
    (tmp_path / "train" / "metadata.csv").write_text("file_name,label\n0.png,red\n1.png,red\n")
    (tmp_path / "test" / "metadata.csv").write_text("file_name,label\n0.png,red\n")
    train, holdout = open_image_folder(tmp_path, 0.2).load(CLASSES, INPUT)
    assert (train.class_counts(2), holdout.class_counts(2)) == ([0, 2], [0, 1])
    assert holdout.unmapped == {"": 1}


def test_a_folder_without_images_is_told(tmp_path: Path) -> None:
    (tmp_path / "red").mkdir()
    with pytest.raises(DatasetError, match=f"there is no image in {tmp_path}"):
        open_image_folder(tmp_path, 0.2)
    with pytest.raises(DatasetError, match="there is no image in"):
        open_image_folder(tmp_path / "gone", 0.2)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """A dataset with ten red and ten blue images."""
    data = Dataset(tmp_path / "data")
    for start, label in enumerate(CLASSES):
        write(tmp_path / label, label, 10, ".jpg")
        files = sorted((tmp_path / label).iterdir())
        data.add(
            [
                NewSample(label, "/camera", (number + 50 * start) * 10**9, file.read_bytes(), 1, 1)
                for number, file in enumerate(files)
            ]
        )
    return data


def load_frozen(path: Path) -> tuple[list[int], list[int], int]:
    """Return a snapshot's images by class on both sides, and how many are unreadable."""
    train, holdout = open_snapshot(path).load(CLASSES, INPUT)
    for side in (train, holdout):
        channels = np.where(side.labels == CLASSES.index("red"), 0, 2)
        assert (side.images[np.arange(len(side)), 0, 0, channels] >= 190).all()
    unreadable = train.unreadable + holdout.unreadable
    return train.class_counts(2), holdout.class_counts(2), unreadable


def test_what_got_another_label_since_is_learned_as_it_was_frozen(
    dataset: Dataset, tmp_path: Path
) -> None:
    freeze(dataset, 0.2, 1.0).save(tmp_path / "one.json")
    before = load_frozen(tmp_path / "one.json")
    assert (sum(before[0] + before[1]), before[2]) == (20, 0)
    dataset.relabel([1, 2], "red")
    dataset.relabel([3, 11], "")
    dataset.relabel([12], "a new one")
    moving = dataset.samples()[5].path
    (dataset.path / moving).rename(dataset.path / ".staging" / Path(moving).name)
    assert load_frozen(tmp_path / "one.json") == before


def test_what_was_altered_or_removed_since_is_not_learned(
    dataset: Dataset, tmp_path: Path
) -> None:
    freeze(dataset, 0.2, 1.0).save(tmp_path / "one.json")
    samples = dataset.samples()
    altered, other = (dataset.path / samples[number].path for number in (0, 1))
    altered.write_bytes(other.read_bytes())
    dataset.remove([samples[19].id])
    train, holdout, unreadable = load_frozen(tmp_path / "one.json")
    assert (sum(train + holdout), unreadable) == (18, 2)


def test_a_sample_without_a_hash_is_read_as_it_is(dataset: Dataset, tmp_path: Path) -> None:
    snapshot = freeze(dataset, 0.2, 1.0)
    sides = [
        tuple(sample._replace(sha256="") for sample in side)
        for side in (snapshot.train, snapshot.holdout)
    ]
    old = replace(
        snapshot, train=sides[0], holdout=sides[1], content_hash=hash_samples(sides[0], sides[1])
    )
    old.save(tmp_path / "one.json")
    train, holdout, unreadable = load_frozen(tmp_path / "one.json")
    assert (sum(train + holdout), unreadable) == (20, 0)
