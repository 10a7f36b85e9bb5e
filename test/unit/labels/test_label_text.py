"""Cleaning labels, and folder names."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl_robot_ros.errors import LabelError
from fl_robot_ros.labels.label_text import (
    MAX_LABEL_CHARACTERS,
    clean_label,
    label_folder_name,
    label_from_folder,
)

READABLE = string.ascii_letters + string.digits + "-_"


def test_white_space_around_a_label_is_dropped() -> None:
    assert clean_label("  stop sign\n") == "stop sign"
    assert clean_label(" \t ") == ""


def test_accents_are_composed() -> None:
    assert clean_label("cafe\u0301") == "caf\u00e9"


def test_a_long_text_of_accents_is_refused_at_once() -> None:
    # Composing all of it would take hours.
    with pytest.raises(LabelError, match="2000001 characters"):
        clean_label("a" + "\u0300\u0316" * 1_000_000)
    assert clean_label("\u1f82" * 64) == clean_label("\u03b1\u0313\u0300\u0345" * 64)


def test_text_that_was_no_utf8_is_refused() -> None:
    with pytest.raises(LabelError, match="not UTF-8"):
        clean_label(b"T\xfcr".decode(errors="replace"))


@pytest.mark.parametrize(
    "text",
    ["a\0b", "a\nb", "\x1b[31mred", "a\u202eb", "a\u200bb", "x" * 65, "\ud800", "a\u2028b"],
)
def test_unfit_text_is_refused(text: str) -> None:
    with pytest.raises(LabelError):
        clean_label(text)


@pytest.mark.parametrize("thing", [None, 3, b"cat", ["cat"]])
def test_what_is_no_text_is_refused(thing: object) -> None:
    with pytest.raises(LabelError, match="expected text"):
        clean_label(thing)


@given(st.text(max_size=80))
def test_any_text_is_cleaned_once_for_all_and_gets_a_safe_reversible_folder(text: str) -> None:
    try:
        label = clean_label(text)
    except LabelError:
        return
    assert clean_label(label) == label
    assert len(label) <= MAX_LABEL_CHARACTERS
    if not label:
        return
    name = label_folder_name(label)
    assert set(name) <= set(READABLE + " %=")
    assert len(name.encode()) <= 255
    assert name == name.strip()
    assert label_from_folder(name) == label


@given(st.text(min_size=1, max_size=80))
def test_no_two_labels_share_a_folder_and_other_names_are_no_labels(name: str) -> None:
    try:
        label = label_from_folder(name)
    except LabelError:
        return
    assert label_folder_name(label) == name


@pytest.mark.parametrize(
    ("label", "folder"),
    [
        ("stop sign", "stop sign"),
        ("..", "%2E%2E"),
        ("a/b", "a%2Fb"),
        (".hidden", "%2Ehidden"),
        ("50%", "50%25"),
        ("~root", "%7Eroot"),
    ],
)
def test_folder_names_are_readable_and_no_paths(label: str, folder: str) -> None:
    assert label_folder_name(label) == folder


def test_long_foreign_labels_fit_a_file_name() -> None:
    label = "\U0001f600" * MAX_LABEL_CHARACTERS
    name = label_folder_name(label)
    assert len(name) <= 255
    assert label_from_folder(name) == label


@pytest.mark.parametrize("label", ["", " cat", "a\0b", "cafe\u0301"])
def test_only_clean_labels_get_a_folder(label: str) -> None:
    with pytest.raises(LabelError):
        label_folder_name(label)


@pytest.mark.parametrize("name", ["", "..", "%2e%2e", "%%", "%%!!", "%%AAAA", "caf\u00e9", "%ZZ"])
def test_other_folders_belong_to_no_label(name: str) -> None:
    with pytest.raises(LabelError):
        label_from_folder(name)
