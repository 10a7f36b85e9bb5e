"""A prediction is legible in an image of any size."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fl_robot_ros.delivery.predictor import Prediction
from fl_robot_ros.nodes.annotation import SMALL_EDGE_PX, annotated, draw_prediction

LONG = "a label that is far too long for the image that it stands in, whatever its size"


def grey(height: int, width: int) -> NDArray[np.uint8]:
    return np.full((height, width, 3), 90, np.uint8)


def said(label: str, confidence: float = 0.5) -> Prediction:
    return Prediction(label, confidence, np.zeros(1, np.float32))


@pytest.mark.parametrize(
    ("height", "width", "factor"),
    [(480, 640, 1), (1080, 1920, 1), (240, 320, 1), (32, 32, 8), (5, 7, 48), (1, 2000, 1)],
)
def test_small_images_are_enlarged_and_others_keep_their_shape(
    height: int, width: int, factor: int
) -> None:
    image = grey(height, width)
    for label in ("cup", LONG, ""):
        drawn = draw_prediction(image, said(label), "v00007")
        assert drawn.shape == (factor * height, factor * width, 3)
        assert drawn.dtype == np.uint8
        assert (image == 90).all()
    # What is above the bar is as it was.
    assert (drawn[: 3 * drawn.shape[0] // 4] == 90).all()


def test_label_confidence_and_version_are_all_in_the_image() -> None:
    images = [
        draw_prediction(grey(32, 32), said(label, confidence), version)
        for label, confidence, version in (
            ("cup", 0.5, "v00007"),
            ("cap", 0.5, "v00007"),
            ("cup", 0.51, "v00007"),
            ("cup", 0.5, "v00008"),
            (LONG, 0.5, "v00007"),
            (f"{LONG}!", 0.5, "v00007"),
        )
    ]
    assert len({image.tobytes() for image in images}) == len(images)


def test_a_heading_is_a_bar_at_the_upper_edge() -> None:
    drawn = annotated(grey(480, 640), "cup", None, "", "camera   30.0 Hz")
    assert (drawn[:20] != 90).any()
    assert (drawn[SMALL_EDGE_PX] == 90).all()
