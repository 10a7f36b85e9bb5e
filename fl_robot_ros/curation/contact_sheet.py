"""A contact sheet: many images with their predicted labels on one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.images.drawn_text import draw_text, drawable_names, shortened, text_width

_PAPER = (250, 250, 248)
_FRAME = (222, 222, 218)
_WHITE = (255, 255, 255)
_RIGHT = (34, 139, 76)
_WRONG = (200, 52, 52)
_UNKNOWN = (96, 102, 112)


@dataclass(frozen=True)
class Tile:
    """One image of a sheet.

    Attributes:
        image: Image, uint8 (H, W, 3), RGB, of any size.
        predicted: The predicted label.
        confidence: Its probability, 0 to 1.
        expected: The true label, None where it is not known.
    """

    image: NDArray[np.uint8]
    predicted: str
    confidence: float
    expected: str | None = None


def draw_contact_sheet(
    tiles: Sequence[Tile], columns: int = 8, tile_px: int = 128
) -> NDArray[np.uint8]:
    """Draw images in rows with a caption under each: green right, red wrong, grey not known.

    A wrong one also names the true label.

    Args:
        tiles: The images, in reading order.
        columns: Images in a row, 1 or more.
        tile_px: Edge of the square that each image is fitted into, in px.

    Returns:
        The sheet, uint8 (H, W, 3), RGB; a page without images for no tiles.
    """
    columns = max(1, min(columns, len(tiles)))
    rows = -(-len(tiles) // columns)
    gap = max(4, tile_px // 16)
    caption = max(16, tile_px // 5)
    cell_height = tile_px + caption
    height = max(1, rows) * (cell_height + gap) + gap
    width = columns * (tile_px + gap) + gap
    sheet: NDArray[np.uint8] = np.full((height, width, 3), _PAPER, dtype=np.uint8)
    labels = {label for tile in tiles for label in (tile.predicted, tile.expected or "")}
    names = drawable_names(labels)
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        top = gap + row * (cell_height + gap)
        left = gap + column * (tile_px + gap)
        image = fit_image(tile.image, tile_px)
        cell = np.full((tile_px, tile_px, 3), _FRAME, dtype=np.uint8)
        y = (tile_px - image.shape[0]) // 2
        x = (tile_px - image.shape[1]) // 2
        cell[y : y + image.shape[0], x : x + image.shape[1]] = image
        sheet[top : top + tile_px, left : left + tile_px] = cell
        band = _draw_caption(tile, names, tile_px, caption)
        sheet[top + tile_px : top + cell_height, left : left + tile_px] = band
    return sheet


def fit_image(image: NDArray[np.uint8], edge_px: int) -> NDArray[np.uint8]:
    """Scale an image so that its longer side measures `edge_px`; the proportions stay.

    Small images are enlarged without smoothing, so that their pixels stay what they are.
    """
    height, width = image.shape[:2]
    factor = edge_px / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(image, size, interpolation=method), dtype=np.uint8)


def _draw_caption(
    tile: Tile, names: Mapping[str, str], width: int, height: int
) -> NDArray[np.uint8]:
    """Return the caption band of one tile, uint8 (height, width, 3)."""
    text = names[tile.predicted]
    if tile.expected is None:
        colour = _UNKNOWN
    elif tile.expected == tile.predicted:
        colour = _RIGHT
    else:
        colour, text = _WRONG, f"{text} (not {names[tile.expected]})"
    band: NDArray[np.uint8] = np.full((height, width, 3), colour, dtype=np.uint8)
    margin = max(2, height // 5)
    baseline = round(height * 0.68)
    scale = height / 44.0
    percent = f"{tile.confidence:.0%}"
    if text_width(f"{text} {percent}", scale) > width - 2 * margin and colour == _WRONG:
        percent = ""  # The true label matters more.
        full = text_width(text, scale)
        scale *= min(1.0, max(0.7, (width - 2 * margin) / max(1, full)))
    percent_px = text_width(percent, scale)
    text = shortened(text, scale, width - 2 * margin - percent_px)
    draw_text(band, text, (margin, baseline), scale, _WHITE)
    draw_text(band, percent, (width - margin - percent_px, baseline), scale, _WHITE)
    return band
