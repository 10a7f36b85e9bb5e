"""A sign: a glyph painted on a board, ready to be hung into an image."""

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.demo.glyph import GLYPH_HEIGHT_PX, GLYPH_WIDTH_PX

BOARD_HEIGHT_PX = 200
BOARD_WIDTH_PX = 260
SIGN_HEIGHT_PX = 232
SIGN_WIDTH_PX = 292

_MARGIN_PX = (SIGN_HEIGHT_PX - BOARD_HEIGHT_PX) // 2
_TOP = _LEFT = _MARGIN_PX
_BOTTOM = SIGN_HEIGHT_PX - _MARGIN_PX - 1
_RIGHT = SIGN_WIDTH_PX - _MARGIN_PX - 1

_GLYPH_ROWS = slice(
    (SIGN_HEIGHT_PX - GLYPH_HEIGHT_PX) // 2, (SIGN_HEIGHT_PX + GLYPH_HEIGHT_PX) // 2
)
_GLYPH_COLUMNS = slice(
    (SIGN_WIDTH_PX - GLYPH_WIDTH_PX) // 2, (SIGN_WIDTH_PX + GLYPH_WIDTH_PX) // 2
)

_CORNER_RADIUS_PX = 12
_SCREW_INSET_PX = 11
_SCREW_COLOR = (95.0, 95.0, 95.0)


def paint_sign(glyph: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Paint a glyph on a board with random colours, rim, screws and shadow.

    Args:
        glyph: float32, shape (GLYPH_HEIGHT_PX, GLYPH_WIDTH_PX), 0.0 board to 1.0 ink.
        rng: Random number generator.

    Returns:
        uint8, shape (SIGN_HEIGHT_PX, SIGN_WIDTH_PX, 4): RGB already multiplied by the opacity,
        and the opacity, 0 to 255, of board and shadow.
    """
    board, ink = _pick_colors(rng)
    surface = np.empty((SIGN_HEIGHT_PX, SIGN_WIDTH_PX, 3), np.float32)
    surface[:] = board
    patch = surface[_GLYPH_ROWS, _GLYPH_COLUMNS]
    patch += glyph[..., None] * (ink - board)
    # One side of the board is a little brighter, as under a lamp.
    tilt_x, tilt_y = rng.uniform(-0.08, 0.08, 2)
    slope_x = np.linspace(1.0 - tilt_x, 1.0 + tilt_x, SIGN_WIDTH_PX, dtype=np.float32)
    slope_y = np.linspace(1.0 - tilt_y, 1.0 + tilt_y, SIGN_HEIGHT_PX, dtype=np.float32)
    light = cv2.merge([np.outer(slope_y, slope_x)] * 3)
    surface = np.asarray(cv2.multiply(surface, light), np.float32)

    rim = tuple(float(value) for value in (ink if rng.random() < 0.5 else board * 0.72))
    corners = (_LEFT + 2, _TOP + 2), (_RIGHT - 2, _BOTTOM - 2)
    cv2.rectangle(surface, *corners, rim, 4, cv2.LINE_AA)
    for x in (_LEFT + _SCREW_INSET_PX, _RIGHT - _SCREW_INSET_PX):
        for y in (_TOP + _SCREW_INSET_PX, _BOTTOM - _SCREW_INSET_PX):
            cv2.circle(surface, (x, y), 3, _SCREW_COLOR, -1, cv2.LINE_AA)

    cover = _rounded_board()
    fall_y, fall_x = int(rng.integers(3, 9)), int(rng.integers(-6, 7))
    dropped = cv2.blur(np.roll(cover, (fall_y, fall_x), (0, 1)), (11, 11))
    shadow = np.asarray(dropped, np.float32) * np.float32(rng.uniform(0.2, 0.5))
    paint = cv2.convertScaleAbs(cv2.multiply(surface, cv2.merge([cover] * 3)))
    opacity = cv2.convertScaleAbs(1.0 - (1.0 - cover) * (1.0 - shadow), alpha=255.0)
    return np.asarray(cv2.merge([*cv2.split(paint), opacity]), np.uint8)


def _pick_colors(rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return a light board colour and a dark ink colour, float32 RGB, 0 to 255."""
    hue_board, hue_ink = rng.integers(0, 180, 2)
    board = (hue_board, rng.integers(0, 40), rng.integers(225, 250))
    ink = (hue_ink, rng.integers(60, 220), rng.integers(10, 60))
    pixels = cv2.cvtColor(np.array([[board, ink]], np.uint8), cv2.COLOR_HSV2RGB)
    colors = np.asarray(pixels[0], np.float32)
    return colors[0], colors[1]


@cache
def _rounded_board() -> NDArray[np.float32]:
    """Return the opacity, 0.0 to 1.0, of a board with round corners."""
    mask = np.zeros((SIGN_HEIGHT_PX, SIGN_WIDTH_PX), np.uint8)
    radius = _CORNER_RADIUS_PX
    white = (255.0,)
    cv2.rectangle(mask, (_LEFT + radius, _TOP), (_RIGHT - radius, _BOTTOM), white, -1)
    cv2.rectangle(mask, (_LEFT, _TOP + radius), (_RIGHT, _BOTTOM - radius), white, -1)
    for x in (_LEFT + radius, _RIGHT - radius):
        for y in (_TOP + radius, _BOTTOM - radius):
            cv2.circle(mask, (x, y), radius, white, -1, cv2.LINE_AA)
    return mask.astype(np.float32) / np.float32(255.0)
