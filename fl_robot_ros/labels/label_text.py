"""The text of a label, in the one form that is stored."""

from __future__ import annotations

import unicodedata

from fl_robot_ros.errors import LabelError

MAX_LABEL_CHARACTERS = 64
# The folder of an export in which the review pool lies.
UNLABELLED_NAME = "unlabelled"

# Composing accents takes time with the square of their number, and makes no text shorter than a
# quarter of what it was.
_MAX_RAW_CHARACTERS = 4 * MAX_LABEL_CHARACTERS
# What stands for bytes that are no UTF-8.
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def clean_label(text: object) -> str:
    """Return a label in the one form that is stored.

    White space around it is dropped, and accented letters are composed (Unicode NFC), so that
    labels which look equal are equal. Cleaning twice changes nothing.

    Returns:
        The label, 1 to 64 printable characters, or "" for none.

    Raises:
        LabelError: It is not text, too long, has control or other unprintable characters, or was
            no UTF-8 before it became text.
    """
    if not isinstance(text, str):
        raise LabelError(f"label is of type {type(text).__name__}; expected text")
    label = text.strip()
    if len(label) <= _MAX_RAW_CHARACTERS:
        label = unicodedata.normalize("NFC", label)
    if len(label) > MAX_LABEL_CHARACTERS:
        raise LabelError(
            f"label {label[:20]!r}... has {len(label)} characters; expected at most "
            f"{MAX_LABEL_CHARACTERS}"
        )
    if not label.isprintable():
        raise LabelError(f"label {label!r} has control or other unprintable characters")
    if _REPLACEMENT in label:
        raise LabelError(f"label {label!r} was not UTF-8 text")
    return label


def names_no_label(name: str) -> bool:
    """Say whether a folder or a column of this name is for images without a label."""
    return name.strip().casefold() in (UNLABELLED_NAME, "unlabeled")
