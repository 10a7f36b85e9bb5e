"""Contact sheets: how they look, and the one of a model's predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.images.drawn_text import draw_text, drawable_names, shortened, text_width

Image = NDArray[np.uint8]
Colour = tuple[int, int, int]

INK: Colour = (32, 36, 42)
GREY: Colour = (96, 102, 112)
LINE: Colour = (216, 216, 211)
RED: Colour = (200, 52, 52)
GREEN: Colour = (34, 139, 76)
_PAPER: Colour = (250, 250, 248)
_FRAME: Colour = (234, 234, 230)
_WHITE: Colour = (255, 255, 255)


def empty_sheet(height_px: int, width_px: int) -> Image:
    """Return an empty sheet, uint8 (height, width, 3), RGB."""
    return np.full((height_px, width_px, 3), _PAPER, dtype=np.uint8)


def fit_image(image: Image, edge_px: int) -> Image:
    """Scale an image so that its longer side measures `edge_px`; the proportions stay.

    Small images are enlarged without smoothing, so that their pixels can be seen.
    """
    height, width = image.shape[:2]
    factor = edge_px / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(image, size, interpolation=method), dtype=np.uint8)


def draw_image(sheet: Image, image: Image | None, left: int, top: int, edge_px: int) -> None:
    """Draw an image into the middle of a square, or a cross for None, an unreadable one."""
    cell = sheet[top : top + edge_px, left : left + edge_px]
    cell[:] = _FRAME
    if image is None:
        low, high = edge_px * 3 // 8, edge_px * 5 // 8
        cv2.line(cell, (low, low), (high, high), RED, 2, cv2.LINE_AA)
        cv2.line(cell, (high, low), (low, high), RED, 2, cv2.LINE_AA)
        return
    image = fit_image(image, edge_px)
    height, width = image.shape[:2]
    y, x = (edge_px - height) // 2, (edge_px - width) // 2
    cell[y : y + height, x : x + width] = image


@dataclass(frozen=True)
class Tile:
    """One prediction on a sheet.

    Attributes:
        image: Image, uint8 (H, W, 3), RGB, of any size.
        predicted: The predicted label.
        confidence: Its probability, 0 to 1.
        expected: The true label, None where it is unknown.
    """

    image: Image
    predicted: str
    confidence: float
    expected: str | None = None


def draw_predictions(tiles: Sequence[Tile], columns: int = 8, tile_px: int = 128) -> Image:
    """Draw images in rows, each over its predicted label: green right, red wrong, grey unknown.

    The caption of a wrong prediction names the true label too.

    Args:
        tiles: The predictions, in reading order.
        columns: Images in a row, 1 or more.
        tile_px: Edge of the square that each image is fitted into, in px.

    Returns:
        The sheet, uint8 (H, W, 3), RGB; without tiles, an empty one.
    """
    columns = max(1, min(columns, len(tiles)))
    rows = max(1, -(-len(tiles) // columns))
    gap = max(4, tile_px // 16)
    caption_px = max(16, tile_px // 5)
    row_px, column_px = tile_px + caption_px + gap, tile_px + gap
    sheet = empty_sheet(rows * row_px + gap, columns * column_px + gap)
    names = drawable_names(
        {name for tile in tiles for name in (tile.predicted, tile.expected) if name is not None}
    )
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        top, left = gap + row * row_px, gap + column * column_px
        draw_image(sheet, tile.image, left, top, tile_px)
        top += tile_px
        _draw_caption(sheet[top : top + caption_px, left : left + tile_px], tile, names)
    return sheet


def _draw_caption(band: Image, tile: Tile, names: Mapping[str, str]) -> None:
    height, width = band.shape[:2]
    margin = max(2, height // 5)
    baseline = round(height * 0.68)
    room_px = width - 2 * margin
    scale = height / 44.0
    predicted, percent = names[tile.predicted], f"{tile.confidence:.0%}"
    if tile.expected is None or tile.expected == tile.predicted:
        band[:] = GREY if tile.expected is None else GREEN
        percent_px = text_width(percent, scale)
        text = shortened(predicted, scale, room_px - percent_px)
    else:
        band[:] = RED
        text, scale = _fit_mistake(predicted, names[tile.expected], scale, room_px)
        percent_px = text_width(percent, scale)
        if text_width(f"{text} ", scale) + percent_px > room_px:
            percent = ""  # The true label matters more.
    draw_text(band, text, (margin, baseline), scale, _WHITE)
    draw_text(band, percent, (width - margin - percent_px, baseline), scale, _WHITE)


def _fit_mistake(predicted: str, expected: str, scale: float, room_px: int) -> tuple[str, float]:
    """Return a caption that names both labels, smaller or with both shortened, and its scale."""
    text = f"{predicted} (not {expected})"
    scale *= min(1.0, max(0.7, room_px / max(1, text_width(text, scale))))
    if text_width(text, scale) <= room_px:
        return text, scale
    room_px -= text_width(" (not )", scale)
    # A short label leaves the rest of the room to the other.
    half = room_px // 2
    first = max(half, room_px - text_width(expected, scale))
    predicted = shortened(predicted, scale, first)
    expected = shortened(expected, scale, room_px - text_width(predicted, scale))
    return f"{predicted} (not {expected})", scale
