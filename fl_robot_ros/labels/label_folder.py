"""The name of a label's folder: the label as people wrote it, which Keras shows as the class."""

from __future__ import annotations

import base64
import functools
import re
from urllib.parse import quote_from_bytes

from fl_robot_ros.errors import LabelError
from fl_robot_ros.labels.folder_layout import INDEX_NAME, MANIFEST_NAME
from fl_robot_ros.labels.label_text import clean_label

_MAX_NAME_BYTES = 255
# "/", and "%" that would begin an escape.
_TO_ESCAPE = re.compile(r"/|%(?=[0-9A-F]{2})")
_ESCAPE = re.compile(rb"%([0-9A-F]{2})")
_PACKED_PREFIX = "%%"
# Hidden folders, packed names, the files beside the class folders, and the folder of ext4.
_RESERVED = (".", _PACKED_PREFIX, INDEX_NAME, MANIFEST_NAME, "lost+found")
_MAX_OLD_CHARACTERS = 240
# Unicode's last code point, U+10FFFF, has 21 bits.
_CODE_POINT_BITS = 21


@functools.lru_cache(maxsize=1024)
def label_folder_name(label: str) -> str:
    """Return the name of a label's folder; `label_from_folder` turns it back.

    It is the label itself, but for these characters, which become "%XX": "/", "%" before two
    hexadecimal digits, and the first character of a hidden name or of a dataset's own file. A
    name of more than 255 bytes, which takes 64 characters of 4 bytes, is "%%" and base64.

    Raises:
        LabelError: The label is empty or not in its clean form.
    """
    if not label or clean_label(label) != label:
        raise LabelError(f"label {label!r} is not in its clean form; clean it first")
    name = _TO_ESCAPE.sub(lambda found: _escaped(found[0]), label)
    if name.startswith(_RESERVED):
        name = _escaped(name[0]) + name[1:]
    return name if len(name.encode()) <= _MAX_NAME_BYTES else _old_name(label)


def label_from_folder(name: str) -> str:
    """Return the label of a folder, also of an older version's, for example "caf%C3%A9".

    Raises:
        LabelError: No label has a folder of this name.
    """
    try:
        label = _unpack(name) if name.startswith(_PACKED_PREFIX) else _unescape(name)
        fits = name in (label_folder_name(label), _old_name(label))
    except (ValueError, OverflowError, LabelError):
        fits = False
    if not fits:
        raise LabelError(f"folder {name[:80]!r} does not have the name of a label")
    return label


def _escaped(character: str) -> str:
    return f"%{ord(character):02X}"


def _unescape(name: str) -> str:
    return _ESCAPE.sub(lambda found: bytes.fromhex(found[1].decode()), name.encode()).decode()


def _old_name(label: str) -> str:
    """Return the folder name of older versions.

    They escaped all but ASCII letters, digits, "-", "_" and spaces, and packed long names.
    """
    # quote leaves "." and "~" alone.
    name = quote_from_bytes(label.encode(), safe=" ").replace(".", "%2E").replace("~", "%7E")
    if len(name) <= _MAX_OLD_CHARACTERS:
        return name
    number = 1
    for character in label:
        number = number << _CODE_POINT_BITS | ord(character)
    packed = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return _PACKED_PREFIX + base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def _unpack(name: str) -> str:
    text = name[len(_PACKED_PREFIX) :]
    number = int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")
    characters = []
    while number > 1:
        characters.append(chr(number & ((1 << _CODE_POINT_BITS) - 1)))
        number >>= _CODE_POINT_BITS
    return "".join(reversed(characters))
