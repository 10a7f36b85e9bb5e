"""Measures of images: what is sharp, and that every way in measures the same."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from fl_robot_ros.images.decode import decode_frame, decode_grey_thumbnail, read_frame_header
from fl_robot_ros.images.frame import CompressedFrame
from fl_robot_ros.images.image_quality import measure_quality

SIZES = [(640, 480), (480, 640), (752, 480), (641, 481), (1280, 720), (1920, 1080)]


def scene(width: int, height: int, blur: float = 0.0, noise: float = 0.0) -> np.ndarray:
    """Return a grey image with edges, blurred by so much of its width, with a camera's noise."""
    coarse = np.random.default_rng(1).integers(0, 256, (24, 32), np.uint8)
    grey = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST).astype(np.float64)
    if blur:
        grey = cv2.GaussianBlur(grey, (0, 0), blur * width)
    grey += np.random.default_rng(0).normal(0, noise, grey.shape) if noise else 0
    return np.clip(grey, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_noise_is_no_sharpness(width: int, height: int) -> None:
    sharp = measure_quality(scene(width, height)).sharpness
    blurred = measure_quality(scene(width, height, blur=0.02)).sharpness
    noisy = measure_quality(scene(width, height, blur=0.02, noise=8.0)).sharpness
    assert 0 <= noisy - blurred < 120
    assert sharp > 10 * noisy


@pytest.mark.parametrize(("width", "height"), [size for size in SIZES if size[0] % 2 == 0])
def test_a_jpeg_measures_like_its_pixels(width: int, height: int) -> None:
    grey = scene(width, height)
    jpeg = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    frame = CompressedFrame("/camera", 5, 6, "jpeg", jpeg)
    pixels = np.asarray(decode_frame(frame)[..., 0], np.uint8)
    raw = measure_quality(pixels)
    small = measure_quality(decode_grey_thumbnail(frame, read_frame_header(frame), 160))
    assert abs(raw.brightness - small.brightness) < 1
    assert small.sharpness == pytest.approx(raw.sharpness, rel=0.2)
    assert (raw.fingerprint ^ small.fingerprint).bit_count() <= 3


@pytest.mark.parametrize("shape", [(1, 1), (1, 2000), (2000, 1), (3, 321), (480, 640)])
def test_a_flat_image_of_any_shape_has_no_sharpness(shape: tuple[int, int]) -> None:
    quality = measure_quality(np.full(shape, 77, np.uint8))
    assert (quality.brightness, quality.sharpness, quality.fingerprint) == (77, 0, 0)
