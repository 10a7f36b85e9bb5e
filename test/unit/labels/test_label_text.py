"""Cleaning labels."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl_robot_ros.errors import LabelError
from fl_robot_ros.labels.label_text import MAX_LABEL_CHARACTERS, clean_label


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
def test_any_text_is_cleaned_once_for_all(text: str) -> None:
    try:
        label = clean_label(text)
    except LabelError:
        return
    assert clean_label(label) == label
    assert len(label) <= MAX_LABEL_CHARACTERS
