"""Text in the fonts of the system, where Pillow is installed."""

from __future__ import annotations

import functools
import os
import unicodedata
from collections.abc import Iterator
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

try:
    from PIL import Image, ImageDraw, ImageFont, features
except ImportError:  # Nobody needs it.
    Image = None

_SUFFIXES = (".ttf", ".ttc", ".otf")
# Fonts that are looked at first, by the beginning of their file's name: a legible one for most
# alphabets, then those of many characters; all others follow.
_PREFERRED = ("DejaVuSans.", "NotoSans-Regular", "NotoSansCJK-Regular", "DroidSansFallbackFull")
# Where a system has thousands of fonts, looking into each of them would take seconds.
_MOST_FONTS = 200
# Drawn as a box or as nothing by every font, since it is no character.
_NO_CHARACTER = "\uffff"
_PROBE_PX = 20
_PLAIN_LAYOUT = 0  # Its name changed with Pillow 9.1.
_RIGHT_TO_LEFT = ("R", "AL")


@functools.lru_cache(maxsize=4096)
def font_for(character: str) -> Path | None:
    """Return the first font with a glyph for a character, None where there is none."""
    if Image is None or not character.isprintable():
        return None
    # Without Raqm, Pillow writes from left to right.
    if is_right_to_left(character) and not features.check("raqm"):
        return None
    return next((path for path in _fonts() if _has_glyph(path, character)), None)


def is_right_to_left(character: str) -> bool:
    """Say whether a character belongs to a script that is written from right to left."""
    return unicodedata.bidirectional(character) in _RIGHT_TO_LEFT


def width_of(text: str, size_px: int) -> int:
    """Return the width of a text in px, whose characters all have a font."""
    widths = (float(_loaded(path, size_px).getlength(run)) for path, run in _runs(text))
    return round(sum(widths))


def draw(
    image: NDArray[np.uint8],
    text: str,
    place: tuple[int, int],
    size_px: int,
    colour: tuple[int, int, int],
) -> None:
    """Draw a line of text whose characters all have a font; what lies outside is cut off.

    Args:
        image: The image to draw into, uint8 (H, W, 3).
        text: The text.
        place: Start of its base line: column and row in px.
        size_px: Size of the font in px.
        colour: Colour in the channel order of the image.
    """
    x, y = place
    height, width = image.shape[:2]
    left, right = max(0, x - size_px), min(width, x + width_of(text, size_px) + size_px)
    top, bottom = max(0, y - 2 * size_px), min(height, y + size_px)
    if left >= right or top >= bottom:
        return
    mask = Image.new("L", (right - left, bottom - top))
    pen = ImageDraw.Draw(mask)
    at = float(x - left)
    for path, run in _runs(text):
        font = _loaded(path, size_px)
        pen.text((at, y - top), run, fill=255, font=font, anchor="ls")
        at += font.getlength(run)
    cover = np.asarray(mask, np.float32)[..., np.newaxis] / 255
    region = image[top:bottom, left:right]
    region[:] = np.rint(region * (1 - cover) + np.array(colour, np.float32) * cover)


def _runs(text: str) -> Iterator[tuple[Path, str]]:
    """Yield the parts of a text that one font draws."""
    for path, characters in groupby(text, font_for):
        assert path is not None
        yield path, "".join(characters)


@functools.lru_cache(maxsize=1)
def _fonts() -> list[Path]:
    """Return the files of the system's fonts, the best ones first."""
    home = Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser()
    folders = (home / "fonts", Path("/usr/local/share/fonts"), Path("/usr/share/fonts"))
    found = [
        Path(place, name)
        for place, _, names in chain.from_iterable(map(os.walk, folders))
        for name in names
        if name.endswith(_SUFFIXES)
    ]
    return sorted(found, key=_rank)[:_MOST_FONTS]


def _rank(path: Path) -> tuple[int, bool, str]:
    place = next((n for n, name in enumerate(_PREFERRED) if path.name.startswith(name)), 9)
    return place, "Regular" not in path.name, path.name


@functools.lru_cache(maxsize=256)
def _loaded(path: Path, size_px: int) -> Any:
    """Return a font, in the best layout that Pillow has."""
    return ImageFont.truetype(str(path), size_px)


def _has_glyph(path: Path, character: str) -> bool:
    font = _plain(path)
    return font is not None and bytes(font.getmask(character)) != _missing(path)


@functools.lru_cache(maxsize=_MOST_FONTS)
def _plain(path: Path) -> Any:
    """Return a font that shows each character by itself, None for a file that is no font."""
    try:
        return ImageFont.truetype(str(path), _PROBE_PX, layout_engine=_PLAIN_LAYOUT)
    except OSError:
        return None


@functools.lru_cache(maxsize=_MOST_FONTS)
def _missing(path: Path) -> bytes:
    """Return what a font draws for a character that it lacks."""
    return bytes(_plain(path).getmask(_NO_CHARACTER))
