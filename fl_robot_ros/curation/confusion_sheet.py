"""A confusion matrix as an image, in the style of the contact sheets."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.curation.contact_sheet import (
    GREEN,
    GREY,
    INK,
    LINE,
    RED,
    Colour,
    Image,
    empty_sheet,
)
from fl_robot_ros.images.drawn_text import (
    BOLD,
    draw_text,
    drawable_names,
    shortened,
    text_width,
)

# More rows and columns are no longer legible.
MOST_CLASSES = 60

_MARGIN_PX = 20
_TITLE_PX = 56
_LEGEND_PX = 76
_NAME_PX = 190
_RECALL_PX = 150
_SCALE = 0.5
_LETTER_PX = 11  # Height of a capital letter at that scale.
_WHITE: Colour = (255, 255, 255)
_LEGEND = "row: the label   column: the prediction   colour: share of the row"


def draw_confusion(classes: Sequence[str], confusion: NDArray[np.int64], title: str) -> Image:
    """Draw a confusion matrix with the recall of every class.

    Of more than 60 classes, those with the most mistakes are drawn, and the title says so.

    Args:
        classes: Names of the classes.
        confusion: Number of images, (classes, classes): a row for each label, a column for each
            prediction.
        title: What is shown, one line.

    Returns:
        The sheet, uint8 (H, W, 3), RGB.
    """
    images, right = confusion.sum(axis=1), np.diagonal(confusion)
    if len(classes) > MOST_CLASSES:
        mistakes = images + confusion.sum(axis=0) - 2 * right
        drawn = np.sort(np.argsort(-mistakes, kind="stable")[:MOST_CLASSES])
        title += f"; {MOST_CLASSES} of {len(classes)} classes, those with the most mistakes"
    else:
        drawn = np.arange(len(classes))
    names = list(drawable_names([*classes]).values())
    cell = next(px for most, px in ((10, 60), (24, 44), (MOST_CLASSES, 32)) if len(drawn) <= most)
    left, top = _MARGIN_PX + _NAME_PX, _MARGIN_PX + _TITLE_PX + _NAME_PX
    edge = cell * len(drawn)
    wanted = 2 * _MARGIN_PX + max(text_width(title, 0.7, thickness=BOLD), 620)
    sheet = empty_sheet(
        top + edge + _LEGEND_PX + _MARGIN_PX,
        max(left + edge + _RECALL_PX + _MARGIN_PX, min(wanted, 1400)),
    )
    room = sheet.shape[1] - 2 * _MARGIN_PX
    title = shortened(title, 0.7, room, thickness=BOLD)
    draw_text(sheet, title, (_MARGIN_PX, _MARGIN_PX + 22), 0.7, INK, thickness=BOLD)
    for place, number in enumerate(drawn):
        name = shortened(names[number], _SCALE, _NAME_PX - 10, keeps_end=True)
        y, x = top + place * cell, left + place * cell
        base = y + (cell + _LETTER_PX) // 2
        draw_text(sheet, name, (left - 8 - text_width(name, _SCALE), base), _SCALE, INK)
        _draw_upright(sheet[top - _NAME_PX : top - 6, x : x + cell], name)
        for column, other in enumerate(drawn):
            _draw_cell(
                sheet[y : y + cell, left + column * cell : left + (column + 1) * cell],
                int(confusion[number, other]),
                int(images[number]),
                GREEN if number == other else RED,
            )
        if images[number]:
            recall = f"{right[number] / images[number]:.0%} of {images[number]:,}"
            draw_text(sheet, recall, (left + edge + 10, base), _SCALE, INK)
    for line in range(len(drawn) + 1):
        at = line * cell
        cv2.line(sheet, (left, top + at), (left + edge, top + at), LINE)
        cv2.line(sheet, (left + at, top), (left + at, top + edge), LINE)
    draw_text(sheet, "recall", (left + edge + 10, top - 10), _SCALE, GREY)
    _draw_legend(sheet[top + edge + 16 :, _MARGIN_PX : sheet.shape[1] - _MARGIN_PX])
    return sheet


def _draw_cell(cell: Image, count: int, images: int, colour: Colour) -> None:
    """Fill a cell by its share of the row, and write the number into it."""
    if not count:
        return
    share = count / images
    cell[:] = _shade(share, colour)
    text = f"{count}" if count < 10_000 else f"{count / 1000:.0f}k"
    edge = cell.shape[0]
    scale = min(0.55, edge / 60)
    scale *= min(1.0, (edge - 4) / text_width(text, scale))
    ink = _WHITE if share > 0.55 else INK
    at = ((edge - text_width(text, scale)) // 2, round((edge + 22 * scale) / 2))
    draw_text(cell, text, at, scale, ink)


def _draw_upright(cell: Image, text: str) -> None:
    """Write a text from bottom to top, in the middle of a strip's width."""
    height, width = cell.shape[:2]
    strip = empty_sheet(width, height)
    draw_text(strip, text, (2, (width + _LETTER_PX) // 2), _SCALE, INK)
    cell[:] = np.rot90(strip)


def _draw_legend(band: Image) -> None:
    """Draw what the rows, columns and colours mean."""
    x = 0
    for text, colour in (("right", GREEN), ("wrong", RED)):
        draw_text(band, text, (x, 15), _SCALE, INK)
        x += text_width(text, _SCALE) + 10
        for step in range(100):
            band[2:18, x + step] = _shade(step / 99, colour)
        x += 100 + 8
        draw_text(band, "0 to 100%", (x, 15), _SCALE, GREY)
        x += text_width("0 to 100%", _SCALE) + 30
    draw_text(band, shortened(_LEGEND, _SCALE, band.shape[1]), (0, 45), _SCALE, GREY)


def _shade(share: float, colour: Colour) -> Colour:
    """Return a colour that is the paler the smaller the share, never white."""
    weight = 0.15 + 0.85 * share
    red, green, blue = (round(weight * part + (1 - weight) * 255) for part in colour)
    return red, green, blue
