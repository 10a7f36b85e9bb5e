"""The layout of an image folder: which of its folders are splits and which are classes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from fl_robot_ros.errors import SourceError
from fl_robot_ros.labels.label_text import names_no_label
from fl_robot_ros.name_list import name_list

TRAIN = "train"
VALIDATION = "validation"
TEST = "test"
# Files beside the class folders of an export and of a dataset.
MANIFEST_NAME = "samples.csv"
INDEX_NAME = "index.sqlite3"
# The names in `data_files.py` of Hugging Face's datasets, which include those of Roboflow (train,
# valid, test), torchvision (train, val) and Kaggle (Training, Testing).
_SPLITS = {
    TRAIN: ("train", "training"),
    VALIDATION: ("validation", "valid", "val", "dev"),
    TEST: ("test", "testing", "eval", "evaluation"),
}
_SPLIT_OF_NAME = {name: split for split, names in _SPLITS.items() for name in names}
# In YOLO's layout, images/ lies beside labels/ and is no class.
_CONTAINERS = frozenset(("images", "image", "imgs", "img", "jpegimages"))

# Names of the folders from the top down to a file; (): the file lies at the top.
Folders = tuple[str, ...]


class Place(NamedTuple):
    """Class and split of the images directly in a folder.

    Attributes:
        class_name: Name of its class folder, "" for none.
        split: TRAIN, VALIDATION or TEST, "" for none.
    """

    class_name: str = ""
    split: str = ""


@dataclass
class FolderLayout:
    """The roles of the folders with images.

    Attributes:
        places: Class and split by folder.
        left_out: Folders outside of the splits, with the reason.
        remarks: Decisions that could have been made otherwise, for people.
        deep: Class folders with images in subfolders.
    """

    places: dict[Folders, Place] = field(default_factory=dict)
    left_out: dict[Folders, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    deep: list[str] = field(default_factory=list)


def split_of(name: str) -> str:
    """Return TRAIN, VALIDATION or TEST for the name of a split folder, "" for any other."""
    return _SPLIT_OF_NAME.get(name.strip().casefold(), "")


def decide_layout(folders: Collection[Folders], *, has_only_classes: bool = False) -> FolderLayout:
    """Tell class folders and split folders apart.

    Folders with the names of splits are splits if all folders are, or if they hold class folders;
    splits may also lie inside of class folders. A single split name among folders of images is a
    class like the others. A folder "images" that is alone at its level is no class.

    Args:
        folders: The folders with images directly in them.
        has_only_classes: Whether all top folders are classes, as in a dataset of this package.

    Raises:
        SourceError: The layout is ambiguous.
    """
    if has_only_classes:
        return _class_layout({folder: folder for folder in folders})
    inner = _without_wrappers({folder: folder for folder in folders})
    tops = {names[0] for names in inner.values() if names}
    splits = {name for name in tops if split_of(name)}
    others = {name for name in tops - splits if not names_no_label(name)}
    if not splits:
        return _class_layout(inner)
    in_split = {
        name: _without_containers(
            {folder: names[1:] for folder, names in inner.items() if names[:1] == (name,)}
        )
        for name in splits
    }
    nested = {name for name, parts in in_split.items() if any(parts.values())}
    is_clear = not others or (nested == splits and len({split_of(name) for name in splits}) > 1)
    if not is_clear and not nested and len(splits) == 1:
        layout = _class_layout(inner)
        layout.remarks.append(
            f"{name_list(splits)} is taken for a class, like {name_list(sorted(others))} beside it"
        )
        return layout
    if not is_clear:
        names = name_list(_in_order(splits))
        are = "has" if len(splits) == 1 else "have"
        what = "folders of its own" if nested else "the name of a split"
        raise SourceError(
            f"{names} {are} {what}, and {name_list(sorted(others))} beside it; it is not clear "
            f"which of them are classes: import that folder instead, or move the others away"
        )
    return _split_layout(inner, in_split)


def _split_layout(
    inner: dict[Folders, Folders], in_split: dict[str, dict[Folders, Folders]]
) -> FolderLayout:
    layout = FolderLayout()
    for name, parts in in_split.items():
        for folder, names in parts.items():
            layout.places[folder] = Place(names[0] if names else "", split_of(name))
            if len(names) > 1:
                layout.deep.append(f"{name}/{names[0]}")
    classes = any(place.class_name for place in layout.places.values())
    bare = [n for n, parts in in_split.items() if not all(parts.values())]
    text = f"split folders {name_list(_in_order(in_split))}"
    text += ", with class folders in them" if classes else ""
    if bare:
        text += f"; files directly in {name_list(_in_order(bare))} have no class folder"
    layout.remarks.append(text)
    for folder, names in inner.items():
        if folder in layout.places:
            continue
        if not names or names_no_label(names[0]):
            layout.places[folder] = Place()
        else:
            layout.left_out[folder] = "lies beside split folders and in none of them"
    layout.deep = sorted(set(layout.deep))
    return layout


def _class_layout(inner: dict[Folders, Folders]) -> FolderLayout:
    layout = FolderLayout()
    by_class: dict[str, list[Folders]] = {}
    for folder, names in inner.items():
        layout.places[folder] = Place(names[0] if names else "")
        by_class.setdefault(names[0] if names else "", []).append(folder)
    with_splits = []
    for name, its in sorted(by_class.items()):
        if name and all(len(inner[folder]) > 1 and split_of(inner[folder][1]) for folder in its):
            for folder in its:
                layout.places[folder] = Place(name, split_of(inner[folder][1]))
            with_splits += [inner[folder][1] for folder in its]
            if any(len(inner[folder]) > 2 for folder in its):
                layout.deep.append(name)
        elif any(len(inner[folder]) > 1 for folder in its):
            layout.deep.append(name)
    if with_splits:
        names_ = name_list(_in_order(set(with_splits)))
        layout.remarks.append(f"class folders, with split folders {names_} in them")
    return layout


def _without_wrappers(inner: dict[Folders, Folders]) -> dict[Folders, Folders]:
    """Strip folders around all others that are neither class nor split."""
    while True:
        inner = _without_containers(inner)
        is_wrapped = all(len(names) > 1 and split_of(names[1]) for names in inner.values())
        if is_wrapped and any(len(names) > 2 for names in inner.values()):
            below = _below_only(inner, lambda name: not split_of(name))
            if below is not None:
                inner = below
                continue
        return inner


def _without_containers(inner: dict[Folders, Folders]) -> dict[Folders, Folders]:
    """Strip folders named "images" that are alone at their level."""
    while True:
        below = _below_only(inner, lambda name: name.casefold() in _CONTAINERS)
        if below is None:
            return inner
        inner = below


def _below_only(
    inner: dict[Folders, Folders], is_meant: Callable[[str], bool]
) -> dict[Folders, Folders] | None:
    """Strip the one folder around all others; None: there is none that fits."""
    tops = {names[:1] for names in inner.values()}
    if len(tops) != 1 or () in tops or not is_meant(next(iter(tops))[0]):
        return None
    return {folder: names[1:] for folder, names in inner.items()}


def _in_order(names: Iterable[str]) -> list[str]:
    """Return names of splits in the order training, validation, test."""
    order = list(_SPLITS)
    return sorted(names, key=lambda name: (order.index(split_of(name)), name))
