"""From images to model input."""

from __future__ import annotations

import json
from typing import Any

import cv2
import numpy as np
import pytest

from fl_robot_ros.errors import FrameError, ModelError
from fl_robot_ros.images.preprocessing import Preprocessing

RGB = Preprocessing(8, 16, 3, 1 / 255)
IMAGE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def test_shrinking_takes_the_mean_of_the_area() -> None:
    flat = Preprocessing(12, 16, 3, 1.0)
    expected = np.rint(IMAGE.reshape(12, 2, 16, 2, 3).mean(axis=(1, 3)))
    assert np.abs(flat.apply(IMAGE) - expected).max() <= 1


def test_output_has_the_shape_type_and_range_of_the_model() -> None:
    result = RGB.apply(IMAGE)
    assert result.shape == RGB.input_shape == (8, 16, 3)
    assert result.dtype == np.float32
    assert 0 <= result.min() < result.max() <= 1


def test_same_size_is_only_scaled() -> None:
    result = Preprocessing(24, 32, 3, 0.5).apply(IMAGE)
    np.testing.assert_array_equal(result, IMAGE * np.float32(0.5))


@pytest.mark.parametrize("size", [(48, 64), (48, 16), (12, 64)])
def test_enlarging_is_linear(size: tuple[int, int]) -> None:
    expected = cv2.resize(IMAGE, size[::-1], interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(Preprocessing(*size, 3, 1.0).apply(IMAGE), expected)


def test_grey_weighs_the_colours_as_eyes_do() -> None:
    grey = Preprocessing(1, 1, 1, 1.0)
    for channel, weight in enumerate((0.299, 0.587, 0.114)):
        image = np.zeros((1, 1, 3), np.uint8)
        image[..., channel] = 200
        assert grey.apply(image)[0, 0, 0] == pytest.approx(200 * weight, abs=0.51)


@pytest.mark.parametrize(
    "image", [IMAGE[..., 0], IMAGE[..., :2], IMAGE.astype(np.float32), IMAGE[:0]]
)
def test_what_is_no_rgb_image_is_refused(image: Any) -> None:
    with pytest.raises(FrameError, match="expected uint8"):
        RGB.apply(image)


def test_json_round_trip() -> None:
    assert Preprocessing.from_dict(json.loads(json.dumps(RGB.to_dict()))) == RGB


@pytest.mark.parametrize(
    "changes",
    [
        {"height": 0},
        {"width": 10**9},
        {"width": 8.0},
        {"height": True},
        {"channels": 2},
        {"scale": 0.0},
        {"scale": float("nan")},
        {"scale": float("inf")},
        {"scale": "1"},
        {"scale": None},
        {"mean": 3},
    ],
)
def test_unfit_values_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="preprocessing"):
        Preprocessing.from_dict({**RGB.to_dict(), **changes})


@pytest.mark.parametrize("values", [{}, {"height": 3}, None, [1, 2]])
def test_missing_values_are_refused(values: Any) -> None:
    with pytest.raises(ModelError, match="expected exactly"):
        Preprocessing.from_dict(values)
