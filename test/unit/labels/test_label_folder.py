"""Names of label folders: new ones, and those of older versions."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl_robot_ros.errors import LabelError
from fl_robot_ros.labels.label_folder import label_folder_name, label_from_folder
from fl_robot_ros.labels.label_text import MAX_LABEL_CHARACTERS, clean_label


def clean(text: str) -> str:
    try:
        return clean_label(text)
    except LabelError:
        return ""


# Also those that look like names of folders.
TEXTS = st.text(max_size=64) | st.text("%/.~+ 24567AFaf\u00e9\U0001f600", max_size=64)
LABELS = TEXTS.map(clean).filter(bool)


def old_name(label: str) -> str:
    return quote(label, safe=" ").replace(".", "%2E").replace("~", "%7E")


@given(LABELS)
def test_every_label_has_a_safe_folder_that_gives_it_back(label: str) -> None:
    name = label_folder_name(label)
    assert "/" not in name
    assert not name.startswith(".")
    assert len(name.encode()) <= 255
    assert label_from_folder(name) == label


@given(LABELS)
def test_a_label_that_looks_like_an_old_name_survives(label: str) -> None:
    for text in (label_folder_name(label), old_name(label)):
        if clean(text) == text:
            assert label_from_folder(label_folder_name(text)) == text


@given(LABELS.filter(lambda label: len(old_name(label)) <= 240))
def test_the_folders_of_older_versions_are_read(label: str) -> None:
    assert label_from_folder(old_name(label)) == label


@given(TEXTS)
def test_a_folder_has_a_label_only_by_a_name_that_the_label_gets(name: str) -> None:
    try:
        label = label_from_folder(name)
    except LabelError:
        return
    assert name in (label_folder_name(label), old_name(label)) or name.startswith("%%")


@pytest.mark.parametrize(
    ("label", "folder"),
    [
        ("stop sign", "stop sign"),
        ("caf\u00e9", "caf\u00e9"),
        ("\u6258\u76d8", "\u6258\u76d8"),
        ("stop.sign!", "stop.sign!"),
        ("50%", "50%"),
        ("50%25", "50%2525"),
        ("%41", "%2541"),
        ("%%41", "%25%2541"),
        ("a/b", "a%2Fb"),
        ("..", "%2E."),
        (".hidden", "%2Ehidden"),
        ("index.sqlite3-wal", "%69ndex.sqlite3-wal"),
        ("samples.csv", "%73amples.csv"),
        ("lost+found", "%6Cost+found"),
    ],
)
def test_a_folder_is_called_as_people_wrote_the_label(label: str, folder: str) -> None:
    assert label_folder_name(label) == folder
    assert label_from_folder(folder) == label


def test_old_packed_names_are_read() -> None:
    packed = "%%QMSwB22" + "AMSwB22" * 14 + "A"
    assert label_from_folder(packed) == "\u6258\u76d8" * 15
    assert label_folder_name("\u6258\u76d8" * 15) == "\u6258\u76d8" * 15


def test_the_longest_labels_have_folders(tmp_path: Path) -> None:
    for label in ("\U0001f600" * MAX_LABEL_CHARACTERS, "/" * MAX_LABEL_CHARACTERS):
        (tmp_path / label_folder_name(label)).mkdir()
        assert label_from_folder(label_folder_name(label)) == label


@pytest.mark.parametrize("label", ["", " cat", "a\0b", "cafe\u0301"])
def test_only_clean_labels_get_a_folder(label: str) -> None:
    with pytest.raises(LabelError):
        label_folder_name(label)


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", ".review", "index.sqlite3", "samples.csv", "lost+found", " cat"),
        *("cafe\u0301", "%41", "%%", "%%!!", "%%AAAA", "%%sale", "a\udcff", "%FF"),
    ],
)
def test_other_folders_belong_to_no_label(name: str) -> None:
    with pytest.raises(LabelError):
        label_from_folder(name)
