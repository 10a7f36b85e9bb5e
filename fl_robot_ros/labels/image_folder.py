"""A folder of images with labels, in the layout of any common tool."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from fl_robot_ros.errors import LabelError, SourceError
from fl_robot_ros.images.image_files import search_folder
from fl_robot_ros.labels.agreed_labels import AgreedLabels
from fl_robot_ros.labels.folder_layout import INDEX_NAME, MANIFEST_NAME, decide_layout
from fl_robot_ros.labels.image_list import ImageList, path_parts, read_image_list
from fl_robot_ros.labels.label_folder import label_from_folder
from fl_robot_ros.labels.label_text import clean_label, names_no_label
from fl_robot_ros.name_list import name_list

# Lists beside the images, of Hugging Face's imagefolder and of Roboflow.
_LIST_NAMES = frozenset(("metadata.csv", "metadata.jsonl", "_classes.csv"))
_MAX_FILES_NAMED = 4


@dataclass(frozen=True)
class FolderImage:
    """An image file with its class, split and label.

    Attributes:
        path: The file.
        class_name: Name of its class folder, "" for none.
        split: "train", "validation" or "test", "" for none.
        listed_label: Its label in a list beside it, "" for none.
    """

    path: Path
    class_name: str
    split: str
    listed_label: str = ""

    @property
    def label(self) -> str:
        """Its label, "" for none.

        Raises:
            SourceError: The class folder's name gives no label.
        """
        return self.listed_label or _class_label(self.class_name)


@dataclass
class ImageFolder:
    """Content of a folder of images.

    Attributes:
        path: The folder.
        images: Its images, ordered by name.
        left_out: Skipped images, and lists without labels, each with the reason.
        others: Other files, which are skipped too.
        remarks: Decisions that could have been made otherwise, one line each.
        deep: Class folders with images in subfolders, which belong to the class.
    """

    path: Path
    images: list[FolderImage]
    left_out: list[tuple[Path, str]]
    others: list[Path]
    remarks: list[str] = field(default_factory=list)
    deep: list[str] = field(default_factory=list)

    def left_out_lines(self) -> list[str]:
        """Return the skipped files: one line for each reason, with the first names."""
        by_reason: defaultdict[str, list[Path]] = defaultdict(list)
        for path, reason in self.left_out:
            by_reason[reason].append(path)
        lines = [f"{self._names(paths)}: {reason}" for reason, paths in by_reason.items()]
        if self.others:
            lines.append(f"{self._names(self.others)}: no image")
        return lines

    def _names(self, paths: Iterable[Path]) -> str:
        return name_list((path.relative_to(self.path) for path in paths), _MAX_FILES_NAMED)


def read_image_folder(folder: Path) -> ImageFolder:
    """Find the images of a folder and their labels.

    A label comes from the image's class folder, see `decide_layout`, or from a list beside it:
    metadata.csv or metadata.jsonl of Hugging Face's imagefolder, _classes.csv of Roboflow. The
    folder "unlabelled" gives no label.

    Raises:
        SourceError: A folder cannot be read, there is no image, the layout is ambiguous, or labels
            contradict each other.
    """
    found = search_folder(folder)
    folders = {path: path.relative_to(folder).parts[:-1] for path in found.images}
    has_only_classes = any((folder / name).is_file() for name in (MANIFEST_NAME, INDEX_NAME))
    try:
        layout = decide_layout(set(folders.values()), has_only_classes=has_only_classes)
    except SourceError as error:
        raise SourceError(f"{folder}: {error}") from error
    left_out = list(found.left_out)
    paths = []
    for path, names in folders.items():
        if names in layout.left_out:
            left_out.append((path, layout.left_out[names]))
        else:
            paths.append(path)
    if not paths:
        raise SourceError(f"{folder} has no image in a split folder")
    lists = [path for path in found.others if path.name.lower() in _LIST_NAMES]
    own = (MANIFEST_NAME, INDEX_NAME)
    others = [path for path in found.others if path not in lists and not path.name.startswith(own)]
    remarks = list(layout.remarks)
    if layout.deep:
        remarks.append(f"folders in {name_list(layout.deep)} count for the class they lie in")
    labels = _listed_labels(folder, paths, lists, left_out, remarks)
    images = []
    for path in paths:
        place = layout.places[folders[path]]
        image = FolderImage(path, place.class_name, place.split, labels.get(path, ""))
        _check_label(folder, image)
        images.append(image)
    return ImageFolder(folder, images, sorted(left_out), others, remarks, layout.deep)


def _listed_labels(
    folder: Path,
    paths: list[Path],
    lists: list[Path],
    left_out: list[tuple[Path, str]],
    remarks: list[str],
) -> dict[Path, str]:
    """Return the labels in the lists; add to `left_out` and `remarks` what people should know.

    Raises:
        SourceError: A list is unreadable, or contradicts itself or another.
    """
    labels: dict[Path, str] = {}
    columns: defaultdict[str, list[str]] = defaultdict(list)
    for file in lists:
        name = str(file.relative_to(folder))
        try:
            listed = read_image_list(file)
            if listed.lacks or not listed.file_columns:
                left_out.append((file, listed.lacks or "names no files"))
                continue
            found, absent = _match(file.parent, paths, listed)
        except LabelError as error:
            raise SourceError(f"{folder / name}: {error}") from error
        columns[listed.description].append(name)
        if absent:
            names = name_list(absent, _MAX_FILES_NAMED)
            remarks.append(f"{name} names {len(absent):,} files that are not there: {names}")
        for path, label in found.items():
            if labels.setdefault(path, label) != label:
                raise SourceError(
                    f"{path} has the label {label!r} by {file}, and {labels[path]!r} by another "
                    f"list; remove one"
                )
    remarks += [f"labels by {name_list(names, 4)}: {text}" for text, names in columns.items()]
    return labels


def _match(
    folder: Path, paths: Iterable[Path], listed: ImageList
) -> tuple[dict[Path, str], list[str]]:
    """Return the labels of the files in a list, and the listed names without a file.

    Raises:
        LabelError: The list contradicts itself, or a name fits several files.
    """
    inside = [path for path in paths if path.is_relative_to(folder)]
    by_place = {path.relative_to(folder).as_posix(): path for path in inside}
    by_name: defaultdict[str, list[Path]] = defaultdict(list)
    for path in inside:
        by_name[path.name].append(path)
    labels: AgreedLabels[Path] = AgreedLabels()
    absent = []
    for row in listed.images:
        named: set[Path] = set()
        for text in row.files:
            place = text.replace("\\", "/").removeprefix("./")
            file_name = (path_parts(text) or [""])[-1]
            named.update([by_place[place]] if place in by_place else by_name.get(file_name, []))
        text = row.files[0] if row.files else f"line {row.line}"
        if len(named) > 1:
            places = name_list(sorted(path.relative_to(folder) for path in named), 2)
            labels.contradict(f"line {row.line}: {text!r} may be {len(named)} files, {places}")
        elif not named:
            absent.append(text)
        for path in named if row.label else ():
            labels.add(path, row.label, row.line, repr(text))
    labels.check()
    return labels.labels, absent


def _check_label(folder: Path, image: FolderImage) -> None:
    """Check that the lists and the class folder agree.

    Raises:
        SourceError: They disagree.
    """
    try:
        label = _class_label(image.class_name)
    except SourceError:
        return
    if label and image.listed_label and label != image.listed_label:
        raise SourceError(
            f"{image.path.relative_to(folder)} lies in the folder of {label!r} and has the label "
            f"{image.listed_label!r} by a list beside it; move one of them away"
        )


def _class_label(name: str) -> str:
    """Return the label of a class folder, "" for none.

    Raises:
        SourceError: The name gives no label.
    """
    if not name or names_no_label(name):
        return ""
    try:
        return label_from_folder(name)  # A dataset of this package.
    except LabelError:
        pass
    try:
        return clean_label(name)
    except LabelError as error:
        raise SourceError(f"folder {name!r} gives no label: {error}") from error
