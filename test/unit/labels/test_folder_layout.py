"""Split folders and class folders, told apart."""

from __future__ import annotations

import pytest

from fl_robot_ros.errors import SourceError
from fl_robot_ros.labels.folder_layout import FolderLayout, decide_layout, split_of

V = ("", "validation")


def decide(folders: str, **options: bool) -> FolderLayout:
    """Decide on folders as "train/cat valid/cat"; "." is the top."""
    return decide_layout(
        {() if name == "." else tuple(name.split("/")) for name in folders.split()}, **options
    )


def places(layout: FolderLayout) -> dict[str, tuple[str, str]]:
    return {"/".join(folder) or ".": tuple(place) for folder, place in layout.places.items()}


@pytest.mark.parametrize(
    ("name", "split"),
    [
        *((name, "train") for name in ("train", "Training", " TRAIN")),
        *((name, "validation") for name in ("validation", "valid", "val", "dev")),
        *((name, "test") for name in ("test", "Testing", "eval", "evaluation")),
        *((name, "") for name in ("trains", "cat", "", "tests", "training set")),
    ],
)
def test_names_of_splits(name: str, split: str) -> None:
    assert split_of(name) == split


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (". cat", {".": ("", ""), "cat": ("cat", "")}),
        ("trains cat", {"trains": ("trains", ""), "cat": ("cat", "")}),
        ("train/a valid/a", {"train/a": ("a", "train"), "valid/a": ("a", "validation")}),
        ("Train Testing", {"Train": ("", "train"), "Testing": ("", "test")}),
        ("train/cat train", {"train/cat": ("cat", "train"), "train": ("", "train")}),
        ("train", {"train": ("", "train")}),
        (
            "cat/train dog/train dog/val",
            {
                "cat/train": ("cat", "train"),
                "dog/train": ("dog", "train"),
                "dog/val": ("dog", "validation"),
            },
        ),
        # A class of railways.
        ("train bus", {"train": ("train", ""), "bus": ("bus", "")}),
        ("train unlabelled", {"train": ("", "train"), "unlabelled": ("", "")}),
        ("unlabelled", {"unlabelled": ("unlabelled", "")}),
        # YOLO's and COCO's.
        ("train/images val", {"train/images": ("", "train"), "val": ("", "validation")}),
        ("images/train images/val", {"images/train": ("", "train"), "images/val": V}),
        ("images", {"images": ("", "")}),
        ("images/cat images/dog", {"images/cat": ("cat", ""), "images/dog": ("dog", "")}),
        ("images cat", {"images": ("images", ""), "cat": ("cat", "")}),
        # A folder around all, as of an archive.
        ("set/train/a set/test", {"set/train/a": ("a", "train"), "set/test": ("", "test")}),
    ],
)
def test_layouts_of_tools(folders: str, expected: dict[str, tuple[str, str]]) -> None:
    layout = decide(folders)
    assert places(layout) == expected
    assert (layout.deep, layout.left_out) == ([], {})


def test_what_was_decided_is_said() -> None:
    for folders, remark in (
        ("train/a test/a valid/a", "split folders train, valid, test, with class folders in them"),
        (
            "train/a test",
            "split folders train, test, with class folders in them; files directly in test have "
            "no class folder",
        ),
        ("train bus", "train is taken for a class, like bus beside it"),
        ("a/test b/train", "class folders, with split folders train, test in them"),
    ):
        assert decide(folders).remarks == [remark]
    assert decide("cat dog").remarks == []


def test_folders_beside_splits_are_left_out() -> None:
    layout = decide("train/cat test/cat notes copy/train/cat .")
    assert set(layout.left_out) == {("notes",), ("copy", "train", "cat")}
    assert places(layout) == {
        "train/cat": ("cat", "train"),
        "test/cat": ("cat", "test"),
        ".": ("", ""),
    }


@pytest.mark.parametrize("folders", ["train/cat owl", "train valid owl", "train/cat train owl"])
def test_what_may_be_either_is_refused(folders: str) -> None:
    with pytest.raises(SourceError, match="owl beside it; it is not clear which"):
        decide(folders)


def test_folders_in_class_folders_are_named() -> None:
    for folders, deep in (
        ("cat/old cat dog", ["cat"]),
        ("train/cat/old test/cat", ["train/cat"]),
        ("cat/train/old cat/test dog", ["cat"]),
    ):
        layout = decide(folders)
        assert layout.deep == deep
        assert {place.class_name for place in layout.places.values()} <= {"cat", "dog"}


def test_in_a_dataset_all_are_classes() -> None:
    layout = decide("train test unlabelled", has_only_classes=True)
    assert {name: place[0] for name, place in places(layout).items()} == {
        "train": "train",
        "test": "test",
        "unlabelled": "unlabelled",
    }
