"""Lists of image files with labels, as labelling tools write them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

from fl_robot_ros.errors import LabelError
from fl_robot_ros.labels.label_table import LabelTable, read_label_table
from fl_robot_ros.labels.label_text import clean_label, names_no_label
from fl_robot_ros.name_list import name_list

ID = "id"
SHA256 = "sha256"
LABEL = "label"

# Names of columns are compared without case, blanks, "_" and "-".
_FILE_NAMES = frozenset(
    (
        *("file", "files", "filename", "filenames", "filepath", "filepaths", "path", "paths"),
        *("image", "images", "imagefile", "imagefilename", "imagename", "imagepath"),
        *("imageurl", "imageuri", "img", "imgname", "imgpath", "imgurl"),
        *("photo", "image", "url", "uri"),
    )
)
_LABEL_NAMES = frozenset(
    ["label", "labels", "class", "classname", "category", "choice", "choices", "classification"]
)
# Columns that Label Studio adds to the task's data and labels. Any of the first marks a list as
# its export, whose ids are not those of samples.
_LABEL_STUDIO_KEYS = frozenset(("annotation_id", "annotator", "lead_time"))
_LABEL_STUDIO_NAMES = _LABEL_STUDIO_KEYS | {"created_at", "updated_at", "agreement", "history"}
# Label Studio's prefix for a column of the task with the name of one of its own.
_LABEL_STUDIO_PREFIX = "_data_"
_NO_LABELS = _LABEL_STUDIO_NAMES | {ID, SHA256, "topic", "stamp_ns", "split", "width", "height"}
_IMAGE_NAME = re.compile(
    r"\.(jpe?g|jpe|jfif|png|bmp|webp|tiff?|p[bgp]m|gif|avif|hei[cf])(?![a-z0-9])", re.IGNORECASE
)
_YES = frozenset(("1", "1.0", "true"))
_NO = frozenset(("0", "0.0", "false", ""))
_SHOWN_CHARACTERS = 40


class ListedImage(NamedTuple):
    """A row of a list.

    Attributes:
        line: Its line in the file, counted from 1.
        files: Names, paths or URLs of the image's file, from each file column that is not empty.
        label: Its clean label, "" for none.
        id: Its text in the column "id", "" for none.
        sha256: Its text in the column "sha256", "" for none.
    """

    line: int
    files: tuple[str, ...]
    label: str
    id: str
    sha256: str


@dataclass(frozen=True)
class ImageList:
    """Images and their labels.

    Attributes:
        images: Its rows.
        columns: All columns, in their order.
        file_columns: Columns with the image's file; empty if images are known by ids only.
        label_columns: The column with the label, or one for each class (one-hot: 1 in one of them,
            0 in the others).
        is_one_hot: Whether each label column is a class.
        lacks: What the header lacks for a list of labels, "" for nothing; if it lacks something,
            `images` is empty.
    """

    images: list[ListedImage]
    columns: tuple[str, ...]
    file_columns: tuple[str, ...] = ()
    label_columns: tuple[str, ...] = ()
    is_one_hot: bool = False
    lacks: str = ""

    @property
    def is_label_studios(self) -> bool:
        """Whether it is an export of Label Studio, whose ids are those of its tasks."""
        return bool(_LABEL_STUDIO_KEYS & {name.lower() for name in self.columns})

    @property
    def description(self) -> str:
        """Which columns are used, in one line."""
        names = self.file_columns or (ID,)
        labels = name_list(self.label_columns)
        if self.is_one_hot:
            labels = f"the column with 1 ({labels})"
        used = {*names, *self.label_columns, *(SHA256 for name in self.columns if name == SHA256)}
        left = [name for name in self.columns if name and name not in used]
        rest = f"; not used: {name_list(left)}" if left else ""
        without = sum(1 for image in self.images if not image.label)
        gaps = f"; rows without a label: {without:,}" if without else ""
        return f"images by {name_list(names)}, labels by {labels}{gaps}{rest}"


def read_image_list(path: Path) -> ImageList:
    """Read a list of images and their labels: CSV with a header, or JSON Lines (.jsonl).

    File columns are those named so (image, filename, file_name, path, ...) and those that hold
    only names of images. The label is in the column "label", else in the only column with a
    similar name (class, category, choice, ...); in an export of Label Studio also in the only
    column that Label Studio has not added. Without a label column, all other columns are classes
    with one 1 in each row, as in Roboflow's _classes.csv. A cell may hold one label as JSON.

    Raises:
        LabelError: The list is unreadable, or a row has several labels or a wrong number of
            cells; the message names the line, but not the file.
    """
    table = read_label_table(path)
    keys = [name.lower() for name in table.columns]
    files = [number for number, key in enumerate(keys) if key and _names_files(key, number, table)]
    labels, is_one_hot = _find_labels(keys, files, table)
    lacks = _lacks(keys, files, [] if is_one_hot else labels, table)
    if lacks or not labels:
        lacks = lacks or "expected a column label, or one of 0 and 1 for each class"
        lacks = f"{lacks}; the header is {','.join(table.columns)[:80]!r}"
        return ImageList([], tuple(table.columns), lacks=lacks)
    images = []
    for line, cells in table.rows:
        by_key = dict(zip(keys, cells, strict=True))
        try:
            if is_one_hot:
                label = _one_hot_label({table.columns[n]: cells[n] for n in labels})
            else:
                label = _one_label(cells[labels[0]])
        except LabelError as error:
            raise LabelError(f"line {line}: {error}") from error
        named = tuple(cells[number].strip() for number in files if cells[number].strip())
        item_id, sha256 = (by_key.get(key, "").strip() for key in (ID, SHA256))
        images.append(ListedImage(line, named, label, item_id, sha256))
    return ImageList(
        images,
        tuple(table.columns),
        tuple(table.columns[number] for number in files),
        tuple(table.columns[number] for number in labels),
        is_one_hot,
    )


def path_parts(text: str) -> list[str]:
    """Return the parts of a path or URL, including its query, unescaped."""
    return [part for part in re.split(r"[/\\?&=#]", unquote(text)) if part]


def _names_files(key: str, number: int, table: LabelTable) -> bool:
    """Say whether a column names image files, judging by its name or its cells."""
    plain = re.sub(r"[\s_-]", "", key.removeprefix(_LABEL_STUDIO_PREFIX))
    if key.startswith(_LABEL_STUDIO_PREFIX) or plain not in _FILE_NAMES:
        named = [cells[number] for _, cells in table.rows if cells[number].strip()]
        return bool(named) and all(map(_IMAGE_NAME.search, named))
    # If Label Studio had to tell two columns apart, the prefixed one is the file's.
    return not any(name.lower() == _LABEL_STUDIO_PREFIX + key for name in table.columns)


def _find_labels(
    keys: Sequence[str], files: Collection[int], table: LabelTable
) -> tuple[list[int], bool]:
    """Return the possible label columns, and whether each of them is a class."""
    others = [
        number
        for number, key in enumerate(keys)
        if key and number not in files and key not in _NO_LABELS
    ]
    called = [n for n in others if re.sub(r"[\s_-]", "", keys[n]) in _LABEL_NAMES]
    if _LABEL_STUDIO_KEYS & set(keys):
        return called or others, False
    if LABEL in keys:
        return [number for number in called if keys[number] == LABEL], False
    cells = [row[number].strip().lower() for _, row in table.rows for number in others]
    is_one_hot = not called and bool(cells) and set(cells) <= _YES | _NO
    return (others, True) if is_one_hot else (called, False)


def _lacks(
    keys: Sequence[str], files: Collection[int], labels: Sequence[int], table: LabelTable
) -> str:
    """Return the fault of a header, "" for none."""
    doubled = [name for name, count in Counter(filter(None, table.columns)).items() if count > 1]
    if not files and _LABEL_STUDIO_KEYS & set(keys):
        return "expected Label Studio's column of image files, because its ids are its own"
    if not files and SHA256 in keys:
        return "expected a column path beside sha256, as an export writes them"
    if not (files or ID in keys):
        return "expected a column of image files, such as filename, or of ids"
    if doubled:
        return f"expected one column {name_list(doubled)}"
    if len(labels) > 1:
        names = name_list(table.columns[number] for number in labels)
        return f"expected one column that may hold the labels, not {names}; remove the others"
    return ""


def _one_hot_label(cells: Mapping[str, str]) -> str:
    """Return the class with 1 in its cell, "" for none.

    Raises:
        LabelError: There are several, or the class name is no valid label.
    """
    chosen = [name for name, cell in cells.items() if cell.strip().lower() in _YES]
    if len(chosen) > 1:
        raise LabelError(f"has {len(chosen)} labels ({name_list(chosen)}); expected one")
    return clean_label(chosen[0]) if chosen and not names_no_label(chosen[0]) else ""


def _one_label(cell: str) -> str:
    """Return the label of a cell: text, or the JSON that Label Studio writes for choices.

    Raises:
        LabelError: The cell has several labels, or other JSON.
    """
    text = cell.strip()
    if text[:1] not in ("{", "["):
        return clean_label(text)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return clean_label(text)  # A label may begin like that.
    found = list(dict.fromkeys(_labels_in(value, text)))
    if len(found) > 1:
        raise LabelError(f"has {len(found)} labels ({name_list(found)}); expected one")
    return clean_label(found[0]) if found else ""


def _labels_in(value: Any, text: str) -> Iterator[str]:
    """Yield the labels of "a", ["a"], {"choices": ["a"]} or [{"choices": ["a"]}]."""
    for item in value if isinstance(value, list) else [value]:
        choices = item["choices"] if isinstance(item, dict) and set(item) == {"choices"} else item
        for choice in choices if isinstance(choices, list) else [choices]:
            if not isinstance(choice, str):
                shown = repr(text[:_SHOWN_CHARACTERS])
                raise LabelError(f"label {shown}; expected one label for the whole image")
            yield choice
