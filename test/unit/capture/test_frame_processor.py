"""From a frame to the JPEG file that may be stored."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from bag_recorder import make_image

from fl_robot_ros.capture.frame_processor import FrameProcessor
from fl_robot_ros.capture.new_sample import NewSample
from fl_robot_ros.config import ClientSettings
from fl_robot_ros.images.frame import CompressedFrame, Frame, RawFrame
from fl_robot_ros.images.image_header import read_image_header

IMAGE = make_image(1)


def raw(encoding: str, pixels: Any) -> RawFrame:
    height, width = pixels.shape[:2]
    step = pixels.nbytes // height
    return RawFrame("/camera", 5, 6, encoding, height, width, step, False, pixels.tobytes())


def compressed(extension: str, pixels: Any) -> CompressedFrame:
    return CompressedFrame("/camera", 5, 6, "jpeg", cv2.imencode(extension, pixels)[1].tobytes())


def sample_of(frame: Frame, jpeg_quality: int = 95) -> NewSample:
    processed = FrameProcessor(ClientSettings(jpeg_quality=jpeg_quality)).process(frame)
    assert processed.sample is not None, processed.reason
    return processed.sample


def test_colour_jpeg_is_stored_byte_for_byte() -> None:
    frame = compressed(".jpg", IMAGE)
    sample = sample_of(frame, 50)
    assert sample.image_bytes == frame.data
    assert (sample.width, sample.height, sample.stamp_ns) == (32, 24, 5)


@pytest.mark.parametrize("extension", [".jpg", ".png", ".tiff"])
def test_other_compressed_frames_become_colour_jpeg(extension: str) -> None:
    sample = sample_of(compressed(extension, IMAGE[..., 0]))
    assert read_image_header(np.frombuffer(sample.image_bytes, np.uint8)).is_rgb_jpeg


def test_raw_frame_keeps_its_colours() -> None:
    red = np.zeros((24, 32, 3), np.uint8)
    red[..., 0] = 200
    sample = sample_of(raw("rgb8", red))
    stored = cv2.imdecode(np.frombuffer(sample.image_bytes, np.uint8), cv2.IMREAD_COLOR)
    assert stored is not None
    assert np.abs(stored.astype(int).mean(axis=(0, 1)) - [0, 0, 200]).max() < 5


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (raw("mono8", np.zeros((1, 70000), np.uint8)), "70000x1"),
        (raw("depth", IMAGE), "depth"),
        (compressed(".jpg", IMAGE), "end"),
    ],
)
def test_what_is_no_image_is_refused_by_name(frame: Any, reason: str) -> None:
    if isinstance(frame, CompressedFrame):
        frame = CompressedFrame("/camera", 5, 6, "jpeg", bytes(frame.data)[:-20])
    processed = FrameProcessor(ClientSettings()).process(frame)
    assert processed.sample is None
    assert processed.verdict == "bad_encoding"
    assert processed.reason.startswith("topic /camera: ")
    assert reason in processed.reason
