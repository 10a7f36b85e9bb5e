"""The label file that belongs to a bag."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from bag_recorder import drive, record

from fl_robot_ros.bags.bag_files import find_bag_files
from fl_robot_ros.errors import LabelError


def label_file(path: Path) -> Path | None:
    return find_bag_files(path).label_file()


@pytest.mark.parametrize("suffix", ["csv", "yaml", "yml"])
def test_label_file_lies_in_a_folder_or_beside_a_file(tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / "drive"
    folder.mkdir()
    (folder / "drive_0.mcap").touch()
    bag = tmp_path / "drive.mcap"
    bag.touch()
    assert label_file(folder) is None
    assert label_file(bag) is None
    inside = folder / f"labels.{suffix}"
    inside.touch()
    beside = tmp_path / f"drive.mcap.labels.{suffix}"
    beside.touch()
    assert label_file(folder) == inside
    assert label_file(folder / "metadata.yaml") == inside
    assert label_file(bag) == beside


def test_part_of_a_bag_has_its_label_file_where_it_has_none_of_its_own(tmp_path: Path) -> None:
    part = record(tmp_path / "bag", drive(4))
    of_bag = tmp_path / "bag" / "labels.csv"
    of_bag.touch()
    assert label_file(part) == of_bag
    other = part.with_name("other.mcap")
    shutil.copy(part, other)
    assert label_file(other) is None
    own = part.with_name(f"{part.name}.labels.csv")
    own.touch()
    assert label_file(part) == own
    own.unlink()
    # Without metadata the folder may hold bags that have nothing to do with each other.
    (tmp_path / "bag" / "metadata.yaml").unlink()
    assert label_file(part) is None


def test_folder_without_a_label_file_has_that_of_its_files(tmp_path: Path) -> None:
    part = record(tmp_path / "bag", drive(4))
    own = part.with_name(f"{part.name}.labels.yaml")
    own.touch()
    other = part.with_name("other.mcap.labels.csv")
    other.touch()
    assert label_file(tmp_path / "bag") == own
    of_bag = tmp_path / "bag" / "labels.csv"
    of_bag.touch()
    assert label_file(tmp_path / "bag") == of_bag
    assert label_file(part) == own


def test_label_files_of_two_files_are_no_label_file_of_their_folder(tmp_path: Path) -> None:
    parts = [tmp_path / f"bag_{number}.mcap" for number in range(2)]
    for part in parts:
        part.touch()
        part.with_name(f"{part.name}.labels.csv").touch()
    with pytest.raises(LabelError, match=r"bag_0.* and bag_1.*; expected one .*, with all rows"):
        label_file(tmp_path)


def test_two_label_files_are_refused(tmp_path: Path) -> None:
    for name in ("drive.mcap", "labels.csv", "labels.yml"):
        (tmp_path / name).touch()
    with pytest.raises(LabelError, match=r"has labels\.csv and labels\.yml; expected one"):
        label_file(tmp_path)


def test_bag_with_a_very_long_name_has_no_label_file(tmp_path: Path) -> None:
    bag = tmp_path / ("x" * 250 + ".bag")
    bag.touch()
    assert label_file(bag) is None
