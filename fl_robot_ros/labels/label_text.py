"""Labels: cleaning their text, and their folder names."""

from __future__ import annotations

import base64
import functools
import unicodedata
from urllib.parse import quote_from_bytes, unquote_to_bytes

from fl_robot_ros.errors import LabelError

MAX_LABEL_CHARACTERS = 64
# The folder of an export in which the review pool lies.
UNLABELLED_NAME = "unlabelled"

# File systems take names of up to 255 bytes.
_MAX_FOLDER_CHARACTERS = 240
_PACKED_PREFIX = "%%"
# Composing accents takes time with the square of their number, and makes no text shorter than a
# quarter of what it was.
_MAX_RAW_CHARACTERS = 4 * MAX_LABEL_CHARACTERS
# What stands for bytes that are no UTF-8.
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# Unicode's last code point, U+10FFFF, has 21 bits.
_CODE_POINT_BITS = 21


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


@functools.lru_cache(maxsize=1024)
def label_folder_name(label: str) -> str:
    """Return the name of a label's folder; `label_from_folder` turns it back.

    ASCII letters, digits, "-", "_" and spaces stay as they are, everything else becomes its UTF-8
    bytes as %XX; a name too long for a file system is packed into base64 after "%%".

    Raises:
        LabelError: The label is empty or not in its clean form.
    """
    if not label or clean_label(label) != label:
        raise LabelError(f"label {label!r} is not in its clean form; clean it first")
    # quote leaves "." and "~" alone; a name of dots would be a path.
    name = quote_from_bytes(label.encode(), safe=" ").replace(".", "%2E").replace("~", "%7E")
    if len(name) <= _MAX_FOLDER_CHARACTERS:
        return name
    number = 1
    for character in label:
        number = number << _CODE_POINT_BITS | ord(character)
    packed = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return _PACKED_PREFIX + base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def label_from_folder(name: str) -> str:
    """Return the label whose folder has this name.

    Raises:
        LabelError: No label has a folder of this name.
    """
    try:
        label = _unpack(name) if name.startswith(_PACKED_PREFIX) else _unquote(name)
        fits = bool(label) and label_folder_name(label) == name
    except (ValueError, OverflowError, LabelError):
        fits = False
    if not fits:
        raise LabelError(f"folder {name[:80]!r} does not have the name of a label")
    return label


def _unquote(name: str) -> str:
    return unquote_to_bytes(name).decode()


def _unpack(name: str) -> str:
    text = name[len(_PACKED_PREFIX) :]
    number = int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")
    characters = []
    while number > 1:
        characters.append(chr(number & ((1 << _CODE_POINT_BITS) - 1)))
        number >>= _CODE_POINT_BITS
    return "".join(reversed(characters))
