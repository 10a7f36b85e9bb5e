"""The text of a label, in the one form that is stored."""

from __future__ import annotations

import unicodedata

from fl_robot_ros.errors import LabelError

MAX_LABEL_CHARACTERS = 64
# The folder of the review pool in an export.
UNLABELLED_NAME = "unlabelled"

# Composing accents takes quadratic time, and leaves at least a quarter of the characters.
_MAX_RAW_CHARACTERS = 4 * MAX_LABEL_CHARACTERS
# Stands for invalid UTF-8.
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def clean_label(text: object) -> str:
    """Return a label in the one form that is stored.

    Surrounding white space is dropped and accented letters are composed (Unicode NFC), so that
    labels that look equal are equal. Cleaning is idempotent.

    Returns:
        The label, 1 to 64 printable characters, or "" for none.

    Raises:
        LabelError: The label is no text, too long, has control or other unprintable characters,
            or was decoded from invalid UTF-8.
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
