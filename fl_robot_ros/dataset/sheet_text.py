"""Text on pictures, with OpenCV's own fonts, which know ASCII only."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Collection

import cv2
import numpy as np
from numpy.typing import NDArray

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_ELLIPSIS = ".."
# What has no accent that could be dropped.
_LETTERS = str.maketrans(
    {"ß": "ss", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L"}
)


def ascii_names(names: Collection[str]) -> dict[str, str]:
    r"""Return each name in printable ASCII.

    Accents are dropped ("Café" becomes "Cafe"), other characters become their code points as
    Python writes them ("\u6258"); where two names would then look alike, those that are not
    ASCII have all such characters written that way ("Caf\xe9").
    """
    plain = {name: _escaped(_without_accents(name)) for name in names}
    alike = Counter(plain.values())
    return {name: text if alike[text] == 1 else _escaped(name) for name, text in plain.items()}


def shortened(
    text: str, scale: float, room_px: int, *, bold: bool = False, keeps_end: bool = False
) -> str:
    """Return the text, cut to the room with two dots at its end, or in its middle."""
    if text_width(text, scale, bold=bold) <= room_px:
        return text
    cut = text
    for kept in range(len(text) - 1, -1, -1):
        end = kept // 2 if keeps_end else 0
        cut = text[: kept - end].rstrip() + _ELLIPSIS + text[len(text) - end :].lstrip()
        if text_width(cut, scale, bold=bold) <= room_px:
            break
    return cut


def text_width(text: str, scale: float, *, bold: bool = False) -> int:
    """Return the width of a text in px."""
    return int(cv2.getTextSize(text, _FONT, scale, 2 if bold else 1)[0][0])


def draw_text(
    image: NDArray[np.uint8],
    text: str,
    place: tuple[int, int],
    scale: float,
    colour: tuple[int, int, int],
    *,
    bold: bool = False,
) -> None:
    """Draw a line of text.

    Args:
        image: The picture to draw into, uint8 (H, W, 3).
        text: The text, in ASCII.
        place: Where its base line begins: column and row in px.
        scale: Size; 1 is about 22 px for a capital letter.
        colour: In the channels of the picture.
        bold: Whether it is drawn thick.
    """
    cv2.putText(image, text, place, _FONT, scale, colour, 2 if bold else 1, cv2.LINE_AA)


def _without_accents(text: str) -> str:
    parts = unicodedata.normalize("NFKD", text.translate(_LETTERS))
    return "".join(part for part in parts if not unicodedata.combining(part))


def _escaped(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode()
