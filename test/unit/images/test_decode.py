"""Decoding raw and compressed frames."""

from __future__ import annotations

import array
from typing import Any

import cv2
import numpy as np
import pytest
from bag_recorder import make_image
from hypothesis import given
from hypothesis import strategies as st

from fl_robot_ros.errors import FrameError
from fl_robot_ros.images.decode import decode_frame
from fl_robot_ros.images.frame import CompressedFrame, FrameData, RawFrame

IMAGE = make_image(1)


def raw(encoding: str, pixels: Any, step: int = 0, data: FrameData | None = None) -> RawFrame:
    height, width = pixels.shape[:2]
    content = np.ascontiguousarray(pixels).reshape(height, -1)
    step = step or content.shape[1]
    padded = np.full((height, step), 99, np.uint8)
    padded[:, : content.shape[1]] = content
    buffer = padded.tobytes() if data is None else data
    return RawFrame("/camera", 5, 6, encoding, height, width, step, False, buffer)


def compressed(extension: str, pixels: Any, name: str = "jpeg") -> CompressedFrame:
    _, encoded = cv2.imencode(extension, pixels)
    return CompressedFrame("/camera", 5, 6, name, encoded.tobytes())


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, np.frombuffer, "array"])
def test_any_buffer_will_do_and_cannot_be_written_through_the_image(kind: Any) -> None:
    content = IMAGE.tobytes()
    if kind == "array":
        buffer: Any = array.array("B", content)
    else:
        buffer = kind(content, np.uint8) if kind is np.frombuffer else kind(content)
    decoded = decode_frame(raw("rgb8", IMAGE, data=buffer))
    assert np.shares_memory(decoded, np.frombuffer(buffer, np.uint8))
    with pytest.raises(ValueError, match="read-only"):
        decoded[:] = 0
    np.testing.assert_array_equal(decoded, IMAGE)


def test_last_row_may_lack_its_padding() -> None:
    frame = raw("rgb8", IMAGE, 32 * 3 + 8)
    cut = RawFrame(**{**frame.__dict__, "data": bytes(frame.data)[:-8]})
    np.testing.assert_array_equal(decode_frame(cut), IMAGE)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"encoding": "yuv9"}, "yuv9"),
        ({"encoding": "x" * 10000}, "not supported"),
        ({"data": b"\0" * 100}, "100 bytes"),
        ({"step": 5}, "step 5"),
        ({"width": 0}, "0x24"),
        ({"height": 4294967295, "width": 4294967295, "step": 4294967295}, "4294967295"),
        ({"height": 4294967295, "step": 0}, "step 0"),
    ],
)
def test_frames_that_do_not_fit_are_refused_by_name(changes: dict[str, Any], words: str) -> None:
    frame = RawFrame(**{**raw("rgb8", IMAGE).__dict__, **changes})
    with pytest.raises(FrameError, match=words):
        decode_frame(frame)


def test_png_is_exact_and_jpeg_is_close() -> None:
    bgr = cv2.cvtColor(IMAGE, cv2.COLOR_RGB2BGR)
    np.testing.assert_array_equal(decode_frame(compressed(".png", bgr, "png")), IMAGE)
    difference = decode_frame(compressed(".jpg", bgr)).astype(int) - IMAGE
    assert np.abs(difference).mean() < 4


@pytest.mark.parametrize("name", ["", "rgb8; jpeg compressed bgr8", "png", "nonsense"])
def test_content_decides_not_the_name_of_the_format(name: str) -> None:
    bgr = cv2.cvtColor(IMAGE, cv2.COLOR_RGB2BGR)
    assert decode_frame(compressed(".jpg", bgr, name)).shape == (24, 32, 3)


@pytest.mark.parametrize("extension", [".jpg", ".png"])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.9])
def test_cut_files_are_refused(extension: str, share: float) -> None:
    whole = bytes(compressed(extension, IMAGE).data)
    cut = CompressedFrame("/camera", 5, 6, "jpeg", whole[: int(share * len(whole))])
    with pytest.raises(FrameError):
        decode_frame(cut)


@given(st.binary(max_size=300), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"]))
def test_hostile_bytes_are_refused(content: bytes, magic: bytes) -> None:
    with pytest.raises(FrameError):
        decode_frame(CompressedFrame("/camera", 5, 6, "jpeg", magic + content))
