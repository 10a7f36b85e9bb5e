"""Text on images. OpenCV draws most letters as of version 5, before that ASCII only."""

from __future__ import annotations

import functools
import unicodedata
from collections import Counter
from collections.abc import Collection

import cv2
import numpy as np
from numpy.typing import NDArray

BOLD = 2

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_ELLIPSIS = ".."
# As of version 5 the same call draws with such a font.
_HAS_FONTS = hasattr(cv2, "FontFace")
_PROBE_PX = 40
# Letters that are no base letter with an accent.
_LETTERS = str.maketrans(
    {"ß": "ss", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L"}
)


def drawable_names(names: Collection[str]) -> dict[str, str]:
    r"""Return each name in drawable characters.

    Other characters lose their accent ("Café" becomes "Cafe") or become Python's escape for
    their code point ("\u6258"). If two names would look alike, their undrawable characters are
    all escaped ("Caf\xe9").
    """
    plain = {name: "".join(map(_replaced, name)) for name in names}
    alike = Counter(plain.values())
    return {
        name: text if alike[text] == 1 else "".join(map(_escaped, name))
        for name, text in plain.items()
    }


def shortened(
    text: str, scale: float, room_px: int, *, thickness: int = 1, keeps_end: bool = False
) -> str:
    """Return the text, shortened to fit with two dots at its end or in its middle."""
    if text_width(text, scale, thickness=thickness) <= room_px:
        return text
    cut = text
    for kept in range(len(text) - 1, -1, -1):
        end = kept // 2 if keeps_end else 0
        cut = text[: kept - end].rstrip() + _ELLIPSIS + text[len(text) - end :].lstrip()
        if text_width(cut, scale, thickness=thickness) <= room_px:
            break
    return cut


def text_width(text: str, scale: float, *, thickness: int = 1) -> int:
    """Return the width of a text in px."""
    return int(cv2.getTextSize(text, _FONT, scale, thickness)[0][0])


def draw_text(
    image: NDArray[np.uint8],
    text: str,
    place: tuple[int, int],
    scale: float,
    colour: tuple[int, int, int],
    *,
    thickness: int = 1,
) -> None:
    """Draw a line of text.

    Args:
        image: The image to draw into, uint8 (H, W, 3).
        text: The text, as `drawable_names` returns it.
        place: Start of its base line: column and row in px.
        scale: Size; 1 is about 22 px for a capital letter.
        colour: Colour in the channel order of the image.
        thickness: Line width in px.
    """
    cv2.putText(image, text, place, _FONT, scale, colour, thickness, cv2.LINE_AA)


def _replaced(character: str) -> str:
    if _can_draw(character):
        return character
    parts = unicodedata.normalize("NFKD", character.translate(_LETTERS))
    return "".join(_escaped(part) for part in parts if not unicodedata.combining(part))


def _escaped(character: str) -> str:
    if _can_draw(character):
        return character
    return character.encode("ascii", "backslashreplace").decode()


@functools.lru_cache(maxsize=4096)
def _can_draw(character: str) -> bool:
    """Say whether OpenCV has a glyph; it draws a question mark for others."""
    if character.isascii():
        return True
    return _HAS_FONTS and not np.array_equal(_drawn(character), _drawn("?"))


def _drawn(character: str) -> NDArray[np.uint8]:
    image = np.zeros((_PROBE_PX, _PROBE_PX, 3), np.uint8)
    draw_text(image, character, (_PROBE_PX // 4, _PROBE_PX // 2), 0.5, (255, 255, 255))
    return image
