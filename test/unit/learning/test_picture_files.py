"""A folder of class folders as learning data."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from fl_robot_ros.dataset.data_source import DataSource
from fl_robot_ros.dataset.preprocessing import Preprocessing
from fl_robot_ros.errors import DatasetError
from fl_robot_ros.learning.learning_data import open_source
from fl_robot_ros.learning.picture_files import open_picture_folder

CLASSES = ("blue", "red")
COLOURS = {"blue": (0, 0, 200), "red": (200, 0, 0)}
INPUT = Preprocessing(height=6, width=8, channels=3, scale=1 / 255)


def write(folder: Path, label: str, count: int, suffix: str = ".png") -> None:
    """Write pictures of one colour, each of its own brightness and size."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        image = np.zeros((20 + number, 30, 3), np.uint8)
        image[:] = np.clip(np.array(COLOURS.get(label, (9, 9, 9))) + number, 0, 255)
        encoded = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1]
        (folder / f"{number}{suffix}").write_bytes(encoded.tobytes())


def test_a_share_of_each_class_is_held_out(tmp_path: Path) -> None:
    for label in CLASSES:
        write(tmp_path / label, label, 10)
    train, holdout = open_source(DataSource("folder", str(tmp_path), holdout_fraction=0.3)).load(
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
    assert len(seen) == 20  # no picture on both sides
    again, _ = open_picture_folder(tmp_path, 0.3).load(CLASSES, INPUT)
    assert np.array_equal(again.images, train.images)


@pytest.mark.parametrize("name", ["test", "validation", "val"])
def test_a_split_of_the_folder_is_kept(tmp_path: Path, name: str) -> None:
    for label in CLASSES:
        write(tmp_path / "train" / label, label, 5)
        write(tmp_path / name / label, label, 3)
    train, holdout = open_picture_folder(tmp_path, 0.2).load(CLASSES, INPUT)
    assert (train.class_counts(2), holdout.class_counts(2)) == ([5, 5], [3, 3])


def test_a_train_folder_alone_is_split(tmp_path: Path) -> None:
    for label in CLASSES:
        write(tmp_path / "train" / label, label, 10)
    train, holdout = open_picture_folder(tmp_path, 0.2).load(CLASSES, INPUT)
    assert (train.class_counts(2), holdout.class_counts(2)) == ([8, 8], [2, 2])


def test_classes_may_be_named_like_a_split(tmp_path: Path) -> None:
    for label in ("train", "test"):
        write(tmp_path / label, label, 5)
    train, holdout = open_picture_folder(tmp_path, 0.2).load(("train", "test"), INPUT)
    assert (train.class_counts(2), holdout.class_counts(2)) == ([4, 4], [1, 1])


def test_hostile_names_and_broken_pictures_are_counted(tmp_path: Path) -> None:
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
    (tmp_path / "blue" / "notes.txt").write_text("no picture")
    train, holdout = open_picture_folder(tmp_path, 0.25).load(CLASSES, INPUT)
    counts = np.add(train.class_counts(2), holdout.class_counts(2))
    assert counts.tolist() == [4, 4]
    assert train.unreadable + holdout.unreadable == 3
    unmapped = train.unmapped + holdout.unmapped
    assert set(unmapped.values()) == {2}
    assert set(unmapped) == {"", "..", r"'tab\tlabel'", f"'{'x' * 200}'", r"'latin\udce9'"}
    assert all(label.isprintable() for label in unmapped)


def test_a_folder_without_pictures_is_told(tmp_path: Path) -> None:
    (tmp_path / "red").mkdir()
    with pytest.raises(DatasetError, match=f"there is no picture in {tmp_path}"):
        open_picture_folder(tmp_path, 0.2)
    with pytest.raises(DatasetError, match="there is no picture in"):
        open_picture_folder(tmp_path / "gone", 0.2)
