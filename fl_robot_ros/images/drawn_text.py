"""Text on images, in the letters of any alphabet.

OpenCV draws most letters as of version 5, before that ASCII only. What it lacks is drawn by Pillow
in a font of the system, where both are installed, and replaced otherwise.
"""

from __future__ import annotations

import functools
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection

import cv2
import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.images import system_font

BOLD = 2

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_ELLIPSIS = ".."
# As of version 5 the same call draws with such a font.
_HAS_FONTS = hasattr(cv2, "FontFace")
_PROBE_PX = 40
# With it, capital letters of DejaVu Sans (729/1000 of its size) are as high as OpenCV's, 22 px.
_FONT_PX_PER_SCALE = 30
# Letters that are no base letter with an accent.
_LETTERS = str.maketrans(
    {"ß": "ss", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L"}
)


def drawable_names(names: Collection[str]) -> dict[str, str]:
    r"""Return each name in drawable characters.

    A character that neither OpenCV nor a font of the system has loses its accent ("Café" becomes
    "Cafe") or becomes Python's escape for its code point ("\u6258"). If two names would look
    alike, such characters are all escaped ("Caf\xe9").
    """
    plain = {name: _drawable(name, _without_accent) for name in names}
    alike = Counter(plain.values())
    return {
        name: text if alike[text] == 1 else _drawable(name, _escape)
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
    """Return the width of a text, as `drawable_names` returns it, in px."""
    if not _is_for_opencv(text):
        return system_font.width_of(text, _font_px(scale))
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
        thickness: Line width in px; fonts of the system have their own.
    """
    if not _is_for_opencv(text):
        system_font.draw(image, text, place, _font_px(scale), colour)
        return
    cv2.putText(image, text, place, _FONT, scale, colour, thickness, cv2.LINE_AA)


def _drawable(name: str, replace: Callable[[str], str]) -> str:
    """Return a name with the characters replaced that it cannot be drawn with."""
    text = "".join(c if _has_glyph(c) or system_font.font_for(c) else replace(c) for c in name)
    if _is_for_opencv(text) and not all(map(_has_glyph, text)):
        # OpenCV lacks some of its characters, and the fonts others.
        return "".join(c if _has_glyph(c) else replace(c) for c in name)
    return text


def _without_accent(character: str) -> str:
    parts = unicodedata.normalize("NFKD", character.translate(_LETTERS))
    return "".join(
        part if _has_glyph(part) else _escape(part)
        for part in parts
        if not unicodedata.combining(part)
    )


def _escape(character: str) -> str:
    return character.encode("ascii", "backslashreplace").decode()


def _is_for_opencv(text: str) -> bool:
    """Say whether OpenCV draws the text: it has all of it, or the fonts have not."""
    return all(map(_has_glyph, text)) or not all(map(system_font.font_for, text))


def _font_px(scale: float) -> int:
    return max(1, round(_FONT_PX_PER_SCALE * scale))


@functools.lru_cache(maxsize=4096)
def _has_glyph(character: str) -> bool:
    """Say whether OpenCV is to draw a character; it draws a question mark for what it lacks."""
    if character.isascii():
        return True
    # OpenCV writes from left to right.
    if system_font.is_right_to_left(character) and system_font.font_for(character):
        return False
    return _HAS_FONTS and not np.array_equal(_drawn(character), _drawn("?"))


def _drawn(character: str) -> NDArray[np.uint8]:
    image = np.zeros((_PROBE_PX, _PROBE_PX, 3), np.uint8)
    place = (_PROBE_PX // 4, _PROBE_PX // 2)
    cv2.putText(image, character, place, _FONT, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
    return image
