import numpy as np
import pytest
from numpy.typing import NDArray

from fl_robot_ros.curation.contact_sheet import Tile, draw_predictions, fit_image
from fl_robot_ros.delivery.predictor import Prediction
from fl_robot_ros.nodes.annotation import draw_prediction

GREEN, RED, GREY = (34, 139, 76), (200, 52, 52), (96, 102, 112)


def grey_image(height: int = 24, width: int = 32) -> NDArray[np.uint8]:
    return np.full((height, width, 3), 90, dtype=np.uint8)


def has_colour(sheet: NDArray[np.uint8], colour: tuple[int, int, int]) -> bool:
    return bool((sheet == np.array(colour)).all(axis=2).any())


@pytest.mark.parametrize(
    ("expected", "colour"), [("cat", GREEN), ("dog", RED), (None, GREY)], ids=str
)
def test_the_caption_says_whether_it_is_right(
    expected: str | None, colour: tuple[int, int, int]
) -> None:
    sheet = draw_predictions([Tile(grey_image(), "cat", 0.5, expected)])
    assert sheet.dtype == np.uint8
    assert [c for c in (GREEN, RED, GREY) if has_colour(sheet, c)] == [colour]


@pytest.mark.parametrize("count", [0, 1, 8, 9, 17])
def test_the_sheet_has_room_for_every_tile(count: int) -> None:
    tiles = [Tile(grey_image(), "x" * 80, 1.0, None)] * count
    sheet = draw_predictions(tiles, columns=8, tile_px=64)
    rows = -(-count // 8)
    pixels = int((sheet == 90).all(axis=2).sum())
    assert pixels == count * 64 * 48
    assert sheet.shape[0] > rows * 64


def test_a_image_is_fitted_with_its_proportions() -> None:
    assert fit_image(grey_image(100, 200), 64).shape == (32, 64, 3)
    assert fit_image(grey_image(8, 4), 64).shape == (64, 32, 3)
    assert fit_image(grey_image(1, 1000), 64).shape == (1, 64, 3)


@pytest.mark.parametrize("label", ["\u6258\u76d8", "caf\u00e9", "\u0e44\u0e17\u0e22"])
def test_labels_in_any_letters_are_told_apart(label: str) -> None:
    questions = "?" * len(label)
    sheets = [
        draw_predictions([Tile(grey_image(), name, 0.5, None)]) for name in (label, questions)
    ]
    assert not np.array_equal(*sheets)
    large = grey_image(240, 640)
    frames = [
        draw_prediction(large, Prediction(name, 0.5, np.zeros(2, np.float32)))
        for name in (label, questions, questions * len(label.encode()))
    ]
    assert not np.array_equal(frames[0], frames[1])
    assert not np.array_equal(frames[0], frames[2])


def test_the_caption_of_a_mistake_names_both_labels_however_long_they_are() -> None:
    long = "a label that is far too long for it"
    sheets = [
        draw_predictions([Tile(grey_image(), predicted, 0.5, expected)])
        for predicted, expected in (
            (long, f"x {long}"),
            (long, f"y {long}"),
            (f"x {long}", long),
            (long, "cup"),
            (long, "cap"),
            ("cup", long),
        )
    ]
    assert len({sheet.tobytes() for sheet in sheets}) == len(sheets)
