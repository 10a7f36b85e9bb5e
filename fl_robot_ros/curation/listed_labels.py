"""Labels of samples from a list, or from copies sorted into class folders."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from fl_robot_ros.curation.labelling import LabelByTime, LabelChooser
from fl_robot_ros.dataset.sample import Sample
from fl_robot_ros.dataset.sample_paths import file_name, parse_image_name
from fl_robot_ros.errors import LabelError
from fl_robot_ros.labels.agreed_labels import AgreedLabels
from fl_robot_ros.labels.image_folder import read_image_folder
from fl_robot_ros.labels.image_list import (
    SHA256,
    ImageList,
    path_parts,
    read_image_list,
)
from fl_robot_ros.labels.label_ranges import LabelRanges
from fl_robot_ros.name_list import name_list

_SHA256 = re.compile("[0-9a-f]{64}")
# A sample's file name as tools change it: Label Studio puts eight digits before the name of an
# upload, Roboflow packs the suffix into the name and appends a hash.
_TOOLS_NAME = re.compile(
    r"(?:[0-9a-f]{8}-)?(-?[0-9]{1,19}_[0-9a-f]{8})(?:\.jpg|_jpg\.rf\.[0-9a-z]+\.[a-z]{3,4})",
    re.IGNORECASE,
)
# Only beside a column of this name, as an export writes it, is the column id that of the samples;
# elsewhere it may be a tool's own number.
_EXPORT_FILE = "path"


@dataclass(frozen=True)
class ListedLabels:
    """Chooses labels by a list, and remembers which of its entries had a sample.

    Attributes:
        labels: Label by key, without entries that leave a sample alone.
        places: Place in the list by key, as "line 3"; all keys of a place mean one sample.
        key_of: Returns the key of a sample.
        ids: Id in the list by key, where the sample must have this id.
        source: Name of the list in messages.
        description: How the list was read, in one line; "" for nothing to report.
    """

    labels: Mapping[object, str]
    places: Mapping[object, str]
    key_of: Callable[[Sample], object]
    ids: Mapping[object, str] = field(default_factory=dict)
    source: str = ""
    description: str = ""
    _found: dict[str, int] = field(default_factory=dict)

    def __call__(self, sample: Sample) -> str | None:
        """Return the listed label of a sample, None for a sample that is not listed.

        Raises:
            LabelError: The sample has another id in the list, or its entry matches two samples.
        """
        key = self.key_of(sample)
        if key in self.places:
            place = self.places[key]
            other = self._found.setdefault(place, sample.id)
            if other != sample.id:
                raise LabelError(
                    f"{self.source}: {place} may be sample {other} or {sample.id}; remove it"
                )
            if self.ids.get(key, str(sample.id)) != str(sample.id):
                raise LabelError(
                    f"{self.source}: {place} has the id {self.ids[key]}, but is sample "
                    f"{sample.id} here; remove the column id to go by the files"
                )
        return self.labels.get(key)

    def unmatched(self) -> list[str]:
        """Return the places with a label that no sample so far has matched, in their order."""
        labelled = (place for key, place in self.places.items() if self.labels.get(key, ""))
        return [place for place in dict.fromkeys(labelled) if place not in self._found]


def choose_by_csv(path: Path) -> LabelChooser:
    """Return a chooser for a list of images or a label file.

    A list of images, as `read_image_list` takes it, identifies samples by file name in any folder,
    with a column sha256 by name and content, and without a column of files by id. A label file
    has the columns start, end, label and, if need be, topic.

    Raises:
        LabelError: The file is neither, contradicts itself, or has relative times.
    """
    try:
        listed = None if path.suffix.lower() in (".yaml", ".yml") else read_image_list(path)
        if listed is not None and not listed.lacks:
            by_rows = _choose_by_files(listed) if listed.file_columns else _choose_by_ids(listed)
            return replace(by_rows, source=f"label file {path}", description=listed.description)
        if listed is not None and not {"start", "end"} & {name.lower() for name in listed.columns}:
            raise LabelError(listed.lacks)
    except LabelError as error:
        raise LabelError(f"label file {path}: {error}") from error
    ranges = LabelRanges.load(path)
    if ranges.is_relative:
        raise LabelError(
            f"label file {path}: its times count from the beginning of a recording; expected "
            f"times since the epoch, or dates"
        )
    return LabelByTime(ranges)


def choose_by_folder(folder: Path) -> LabelChooser:
    """Return a chooser for copies of samples that were sorted into class folders.

    Args:
        folder: Class folders with files as an export names them; files in "unlabelled" or outside
            class folders leave their samples alone.

    Raises:
        SourceError: The folder cannot be read, has no image, or a class folder's name gives no
            label.
        LabelError: A file lies in two class folders, or none has the name of a sample's file.
    """
    labels: dict[object, str] = {}
    places: dict[object, str] = {}
    is_known = False
    found = read_image_folder(folder)
    for image in found.images:
        name = image.path.name
        if parse_image_name(name) is None:
            continue
        is_known = True
        if not image.label:
            continue
        if labels.setdefault(name, image.label) != image.label:
            raise LabelError(
                f"{name} lies in the folders of {labels[name]!r} and {image.label!r}; leave it in "
                f"one of them"
            )
        places.setdefault(name, str(image.path.relative_to(folder)))
    if not is_known:
        raise LabelError(
            f"{folder} has no file with a name of the dataset's, such as "
            f"1714564800250000000_0123abcd.jpg; expected an export, sorted into class folders"
        )
    remarks = "; ".join(found.remarks)
    chooser = ListedLabels(labels, places, lambda sample: file_name(sample.path))
    return replace(chooser, source=str(folder), description=remarks)


def _choose_by_files(listed: ImageList) -> ListedLabels:
    columns = {name.lower() for name in listed.columns}
    has_hash = SHA256 in columns
    has_own_ids = not listed.is_label_studios and _EXPORT_FILE in {
        name.lower() for name in listed.file_columns
    }
    labels: AgreedLabels[object] = AgreedLabels()
    places: dict[object, str] = {}
    ids: dict[object, str] = {}
    for row in listed.images:
        names = {name for text in row.files for name in _sample_names(text)}
        if len(names) > 1:
            labels.contradict(
                f"line {row.line}: names {len(names)} samples, {name_list(sorted(names), 2)}"
            )
        text = row.files[0] if row.files else "no file"
        place = f"line {row.line}: {text}"
        name = next(iter(names), place)
        own_id = row.id if has_own_ids and not has_hash else ""
        if has_hash:
            sha256 = row.sha256.lower()
            if not row.files or not _SHA256.fullmatch(sha256):
                labels.contradict(
                    f"line {row.line}: file {text[:40]!r} with sha256 {sha256[:40]!r}; expected "
                    f"both as an export writes them"
                )
            # Samples of early versions have no hash.
            keys: list[object] = [(name, sha256), (name, "")]
        else:
            keys = [name]
        for key in keys:
            # A tool writes a row without a label for a task that was skipped.
            if row.label or has_hash:
                labels.add(key, row.label, row.line, repr(text))
            places.setdefault(key, place)
            if own_id and ids.setdefault(key, own_id) != own_id:
                labels.contradict(f"{place} has the id {own_id}, and {ids[key]} before")
    labels.check()

    def key_of(sample: Sample) -> object:
        name = file_name(sample.path)
        return (name, sample.sha256) if has_hash else name

    return ListedLabels(labels.labels, places, key_of, ids)


def _choose_by_ids(listed: ImageList) -> ListedLabels:
    labels: AgreedLabels[object] = AgreedLabels()
    places: dict[object, str] = {}
    for row in listed.images:
        if not row.id.isdecimal() or len(row.id) > 19:
            labels.contradict(f"line {row.line}: id {row.id[:40]!r}; expected a sample's number")
            continue
        labels.add(int(row.id), row.label, row.line, f"id {row.id}")
        places.setdefault(int(row.id), f"line {row.line}: id {row.id}")
    labels.check()
    return ListedLabels(labels.labels, places, lambda sample: sample.id)


def _sample_names(text: str) -> set[str]:
    """Return the file names of samples in a path or URL, in the dataset's own form."""
    found = (_TOOLS_NAME.fullmatch(part) for part in path_parts(text))
    return {f"{match[1].lower()}.jpg" for match in found if match}
