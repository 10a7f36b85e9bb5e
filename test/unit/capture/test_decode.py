"""Decoding raw and compressed frames."""

from __future__ import annotations

import array
from typing import Any

import cv2
import numpy as np
import pytest
from bag_recorder import picture
from hypothesis import given
from hypothesis import strategies as st

from fl_robot_ros.capture.decode import decode_frame, is_rgb_jpeg
from fl_robot_ros.capture.encode import encode_frame
from fl_robot_ros.capture.frame import CompressedFrame, FrameData, RawFrame
from fl_robot_ros.errors import FrameError

PICTURE = picture(1)


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


@pytest.mark.parametrize("padding", [0, 7])
@pytest.mark.parametrize(
    ("encoding", "order"),
    [
        ("rgb8", [0, 1, 2]),
        ("bgr8", [2, 1, 0]),
        ("8UC3", [2, 1, 0]),
        ("rgba8", [0, 1, 2, 0]),
        ("bgra8", [2, 1, 0, 0]),
    ],
)
def test_colour_encodings_and_padding_give_the_same_pixels(
    encoding: str, order: list[int], padding: int
) -> None:
    pixels = PICTURE[..., order]
    frame = raw(encoding, pixels, pixels.shape[1] * len(order) + padding)
    decoded = decode_frame(frame)
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, PICTURE)


@pytest.mark.parametrize("encoding", ["mono8", "8UC1"])
def test_grey_becomes_three_equal_channels(encoding: str) -> None:
    decoded = decode_frame(raw(encoding, PICTURE[..., 0]))
    np.testing.assert_array_equal(decoded, np.repeat(PICTURE[..., :1], 3, axis=2))


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, np.frombuffer, "array"])
def test_any_buffer_will_do_and_the_picture_has_memory_of_its_own(kind: Any) -> None:
    content = PICTURE.tobytes()
    if kind == "array":
        buffer: Any = array.array("B", content)
    else:
        buffer = kind(content, np.uint8) if kind is np.frombuffer else kind(content)
    decoded = decode_frame(raw("rgb8", PICTURE, data=buffer))
    decoded[:] = 0
    assert bytes(buffer) == content


def test_last_row_may_lack_its_padding() -> None:
    frame = raw("rgb8", PICTURE, 32 * 3 + 8)
    cut = RawFrame(**{**frame.__dict__, "data": bytes(frame.data)[:-8]})
    np.testing.assert_array_equal(decode_frame(cut), PICTURE)


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
    frame = RawFrame(**{**raw("rgb8", PICTURE).__dict__, **changes})
    with pytest.raises(FrameError, match=words):
        decode_frame(frame)


def test_png_is_exact_and_jpeg_is_close() -> None:
    bgr = cv2.cvtColor(PICTURE, cv2.COLOR_RGB2BGR)
    np.testing.assert_array_equal(decode_frame(compressed(".png", bgr, "png")), PICTURE)
    difference = decode_frame(compressed(".jpg", bgr)).astype(int) - PICTURE
    assert np.abs(difference).mean() < 4


@pytest.mark.parametrize("name", ["", "rgb8; jpeg compressed bgr8", "png", "nonsense"])
def test_content_decides_not_the_name_of_the_format(name: str) -> None:
    bgr = cv2.cvtColor(PICTURE, cv2.COLOR_RGB2BGR)
    assert decode_frame(compressed(".jpg", bgr, name)).shape == (24, 32, 3)


@pytest.mark.parametrize("extension", [".jpg", ".png"])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.9])
def test_cut_files_are_refused(extension: str, share: float) -> None:
    whole = bytes(compressed(extension, PICTURE).data)
    cut = CompressedFrame("/camera", 5, 6, "jpeg", whole[: int(share * len(whole))])
    with pytest.raises(FrameError):
        decode_frame(cut)


@given(st.binary(max_size=300), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"]))
def test_hostile_bytes_are_refused(content: bytes, magic: bytes) -> None:
    is_rgb_jpeg(np.frombuffer(magic + content, np.uint8))
    with pytest.raises(FrameError):
        decode_frame(CompressedFrame("/camera", 5, 6, "jpeg", magic + content))


def test_colour_jpeg_is_stored_byte_for_byte() -> None:
    frame = compressed(".jpg", PICTURE)
    sample = encode_frame(frame, "cat", 50)
    assert sample.image_bytes == frame.data
    assert (sample.width, sample.height, sample.stamp_ns) == (32, 24, 5)


@pytest.mark.parametrize("extension", [".jpg", ".png"])
def test_other_compressed_frames_become_colour_jpeg(extension: str) -> None:
    sample = encode_frame(compressed(extension, PICTURE[..., 0]), "cat", 95)
    assert is_rgb_jpeg(np.frombuffer(sample.image_bytes, np.uint8))


def test_raw_frame_keeps_its_colours() -> None:
    red = np.zeros((24, 32, 3), np.uint8)
    red[..., 0] = 200
    sample = encode_frame(raw("rgb8", red), "cat", 95)
    stored = cv2.imdecode(np.frombuffer(sample.image_bytes, np.uint8), cv2.IMREAD_COLOR)
    assert stored is not None
    assert np.abs(stored.astype(int).mean(axis=(0, 1)) - [0, 0, 200]).max() < 5


def test_picture_too_large_for_jpeg_is_refused() -> None:
    with pytest.raises(FrameError, match="70000x1"):
        encode_frame(raw("mono8", np.zeros((1, 70000), np.uint8)), "cat", 95)
