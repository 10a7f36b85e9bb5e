"""Compressed frames: image files in all their kinds, formats' names, hostile files."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
from bag_recorder import make_image
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fl_robot_ros.errors import FrameError
from fl_robot_ros.images.decode import decode_frame, decode_grey_thumbnail, read_frame_header
from fl_robot_ros.images.frame import CompressedFrame, RawFrame
from fl_robot_ros.images.image_header import MAX_IMAGE_PX, read_image_header

IMAGE = make_image(2)
BGR = IMAGE[..., ::-1]
SMOOTH = cv2.resize(make_image(3), (640, 480), interpolation=cv2.INTER_CUBIC)

writes_as_told = pytest.mark.skipif(
    cv2.__version__ < "4.6", reason="OpenCV 4.5 writes other values into TIFF files than it gets"
)


def file_of(extension: str, pixels: Any, *parameters: int) -> bytes:
    done, encoded = cv2.imencode(extension, np.ascontiguousarray(pixels), parameters)
    assert done
    return encoded.tobytes()


def compressed(data: bytes, name: str = "jpeg") -> CompressedFrame:
    return CompressedFrame("/camera", 5, 6, name, data)


def thumbnail_of(frame: CompressedFrame, min_side_px: int = 160) -> Any:
    return decode_grey_thumbnail(frame, read_frame_header(frame), min_side_px)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_claiming(width: int, height: int) -> bytes:
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(bytes(1000)))
        + chunk(b"IEND", b"")
    )


def webp_claiming(width: int, height: int) -> bytes:
    canvas = struct.pack("<II", width - 1, height - 1)
    body = b"VP8X" + struct.pack("<II", 10, 0) + canvas[:3] + canvas[4:7]
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def tiff_claiming(width: int, height: int) -> bytes:
    tags = {256: width, 257: height, 258: 8, 273: 8, 277: 1, 278: height, 279: 99}
    entries = b"".join(struct.pack(">HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"MM\0*" + struct.pack(">IH", 8, len(tags)) + entries + bytes(4)


def jpeg_claiming(width: int, height: int) -> bytes:
    data = file_of(".jpg", BGR)
    frame_header = data.index(b"\xff\xc0") + 5
    return data[:frame_header] + struct.pack(">HH", height, width) + data[frame_header + 4 :]


@pytest.mark.parametrize(
    ("extension", "channels", "bits"),
    [
        *[(name, n, bits) for name in (".png", ".tiff") for n in (1, 3, 4) for bits in (8, 16)],
        (".webp", 3, 8),
    ],
)
def test_files_without_loss_are_exact(extension: str, channels: int, bits: int) -> None:
    pixels = {1: IMAGE[..., 0], 3: BGR, 4: np.dstack([BGR, IMAGE[..., 0]])}[channels]
    stored = pixels if bits == 8 else pixels.astype(np.uint16) * 256 + 200
    lossless = (cv2.IMWRITE_WEBP_QUALITY, 101) if extension == ".webp" else ()
    data = file_of(extension, stored, *lossless)
    decoded = decode_frame(compressed(data, extension[1:]))
    expected = np.stack([IMAGE[..., 0]] * 3, axis=2) if channels == 1 else IMAGE
    np.testing.assert_array_equal(decoded, expected)


@pytest.mark.parametrize(
    "parameters",
    [
        (),
        (cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        (cv2.IMWRITE_JPEG_RST_INTERVAL, 2),
        (cv2.IMWRITE_JPEG_QUALITY, 100),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_close(channels: int, parameters: tuple[int, ...]) -> None:
    pixels = BGR if channels == 3 else IMAGE[..., 0]
    data = file_of(".jpg", pixels, *parameters)
    expected = IMAGE if channels == 3 else IMAGE[..., :1]
    difference = decode_frame(compressed(data)).astype(int) - expected
    assert np.abs(difference).mean() < 4
    header = read_image_header(np.frombuffer(data, np.uint8))
    assert header.is_rgb_jpeg is (channels == 3)


@pytest.mark.parametrize(
    "name",
    [
        "jpeg",
        "png",
        "",
        "rgb8; jpeg compressed bgr8",
        "bgr8; png compressed bgr8",
        "bayer_rggb8; jpeg compressed bgr8",
        "16UC1; png compressed ",
        "nonsense",
    ],
)
@pytest.mark.parametrize("extension", [".jpg", ".png"])
def test_colours_come_from_the_content_whatever_the_format_is_called(
    name: str, extension: str
) -> None:
    difference = decode_frame(compressed(file_of(extension, BGR), name)).astype(int) - IMAGE
    assert np.abs(difference).mean() < 4


def test_mono16_png_gives_its_high_bytes() -> None:
    grey = IMAGE[..., 0].astype(np.uint16) * 256 + 255
    for name in ("mono16; png compressed mono16", "mono16; png compressed ", "png"):
        decoded = decode_frame(compressed(file_of(".png", grey), name))
        np.testing.assert_array_equal(decoded[..., 1], IMAGE[..., 0])


@pytest.mark.parametrize("encoding", ["16UC1", "bayer_grbg8", "bayer_grbg16"])
def test_sensor_values_in_a_png_are_those_of_the_raw_image(encoding: str) -> None:
    kind = np.uint8 if encoding.endswith("8") else np.uint16
    values = np.random.default_rng(1).integers(0, np.iinfo(kind).max, (24, 32), kind)
    step = 32 * values.itemsize
    raw = RawFrame("/camera", 5, 6, encoding, 24, 32, step, False, values.tobytes())
    file = compressed(file_of(".png", values), f"{encoding}; png compressed ")
    np.testing.assert_array_equal(decode_frame(file), decode_frame(raw))


@pytest.mark.parametrize("encoding", ["16UC1", "32FC1", "bayer_grbg8", "bayer_grbg16"])
def test_sensor_values_in_a_tiff_are_those_of_the_raw_image(encoding: str) -> None:
    kind = {"16": np.uint16, "32": np.float32}.get(encoding[:2], np.uint8)
    kind = np.uint16 if encoding.endswith("16") else kind
    values = np.random.default_rng(1).integers(0, 255, (24, 32)).astype(kind)
    step = 32 * values.itemsize
    raw = RawFrame("/camera", 5, 6, encoding, 24, 32, step, False, values.tobytes())
    file = file_of(".tiff", values)
    named = compressed(file, f"{encoding}; tiff compressed ")
    np.testing.assert_array_equal(decode_frame(named), decode_frame(raw))
    if encoding == "32FC1":
        np.testing.assert_array_equal(decode_frame(compressed(file, "tiff")), decode_frame(raw))


def test_lossy_webp_is_close_and_ends_where_it_says() -> None:
    data = file_of(".webp", BGR, cv2.IMWRITE_WEBP_QUALITY, 90)
    difference = decode_frame(compressed(data, "webp")).astype(int) - IMAGE
    assert np.abs(difference).mean() < 6
    more = compressed(data + bytes(9999), "webp")
    np.testing.assert_array_equal(decode_frame(more), decode_frame(compressed(data, "webp")))


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("16UC1; compressedDepth png", bytes(12) + file_of(".png", BGR), "raw or compressed"),
        ("32FC1; compressedDepth", file_of(".png", BGR), "compressedDepth holds depths"),
        ("theora", b"\x80theora" + bytes(90), "no JPEG, PNG, WebP or TIFF"),
        ("h264", b"\0\0\0\1\x67" + bytes(90), "only those are supported.*h264"),
        pytest.param(
            *("tiff", file_of(".tiff", BGR.astype(np.float32)), "3 channels of 32 bits"),
            marks=writes_as_told,
        ),
        (
            "tiff",
            file_of(".tiff", BGR[..., 0].astype(np.float64)),
            "of 64 bits and sample format 3",
        ),
        pytest.param(
            *(
                "tiff",
                file_of(".tiff", BGR[..., 0].astype(np.int16)),
                "of 16 bits and sample format 2",
            ),
            marks=writes_as_told,
        ),
        ("bmp", file_of(".bmp", BGR), "no JPEG, PNG, WebP or TIFF"),
        ("jpeg", b"", "no JPEG, PNG, WebP or TIFF"),
        ("a\nb" * 9999, b"text", "no JPEG, PNG, WebP or TIFF"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else value[:30].replace("\n", " "),
)
def test_other_content_is_refused_by_name_in_one_line(name: str, data: bytes, words: str) -> None:
    for decode in (decode_frame, thumbnail_of):
        with pytest.raises(FrameError, match=words) as info:
            decode(compressed(data, name))
        assert repr(name[:64]) in str(info.value)
        assert "\n" not in str(info.value)
        assert len(str(info.value)) < 350


@pytest.mark.parametrize(
    ("claim", "width", "height"),
    [
        (claim, *size)
        for claim in (png_claiming, jpeg_claiming, webp_claiming, tiff_claiming)
        for size in ((60000, 60000), (65500, 1026), (0, 9), (9, 0))
        # WebP cannot say 0.
        if claim is not webp_claiming or all(size)
    ],
)
def test_sizes_that_no_camera_has_are_refused_unseen(claim: Any, width: int, height: int) -> None:
    data = claim(width, height)
    for decode in (decode_frame, thumbnail_of):
        with pytest.raises(FrameError, match=f"{width}x{height} pixels.*{MAX_IMAGE_PX}"):
            decode(compressed(data))


@pytest.mark.parametrize("decode", [decode_frame, thumbnail_of])
@pytest.mark.parametrize("share", [0.0, 0.002, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("extension", [".jpg", ".png", ".webp", ".tiff"])
def test_cut_files_are_refused(extension: str, share: float, decode: Any) -> None:
    for pixels in (BGR, SMOOTH):
        data = file_of(extension, pixels)
        with pytest.raises(FrameError):
            decode(compressed(data[: int(share * len(data))]))


def test_a_thumbnail_inside_is_no_end_of_a_cut_jpeg() -> None:
    inner, outer = file_of(".jpg", BGR[:8, :8]), file_of(".jpg", BGR)
    data = outer[:2] + b"\xff\xe1" + struct.pack(">H", len(inner) + 2) + inner + outer[2:]
    frame = compressed(data)
    np.testing.assert_array_equal(decode_frame(frame), decode_frame(compressed(outer)))
    assert read_image_header(np.frombuffer(data, np.uint8)).is_rgb_jpeg
    for decode in (decode_frame, thumbnail_of):
        with pytest.raises(FrameError, match="lacks its end"):
            decode(compressed(data[:-20]))


def test_long_headers_and_a_filled_last_block_are_fine() -> None:
    data = file_of(".jpg", BGR)
    profile = b"\xff\xe2" + struct.pack(">H", 65535) + b"\xff\xd9" * 32766 + b"\0"
    long = data[:2] + profile * 4 + b"\xff\xff" + data[3:] + bytes(4000)
    np.testing.assert_array_equal(decode_frame(compressed(long)), decode_frame(compressed(data)))
    header = read_image_header(np.frombuffer(long, np.uint8))
    assert (header.width, header.height, header.channels, header.bits) == (32, 24, 3, 8)


@pytest.mark.parametrize(
    ("width", "height", "shape"),
    [
        (1920, 1080, (135, 240)),
        (1280, 720, (90, 160)),
        (640, 480, (120, 160)),
        (480, 640, (160, 120)),
        (320, 200, (100, 160)),
        (319, 200, (200, 319)),
        (159, 90, (90, 159)),
        (2000, 1, (1, 250)),
        pytest.param(
            *(1, 1, (1, 1)),
            marks=pytest.mark.skipif(
                cv2.__version__.startswith("4.5."), reason="OpenCV 4.5 takes no image of one pixel"
            ),
        ),
    ],
)
def test_thumbnail_is_the_small_grey_image(
    width: int, height: int, shape: tuple[int, int]
) -> None:
    pixels = cv2.resize(SMOOTH, (width, height), interpolation=cv2.INTER_AREA)
    frame = compressed(file_of(".jpg", pixels, cv2.IMWRITE_JPEG_QUALITY, 95))
    thumbnail = thumbnail_of(frame)
    assert (thumbnail.dtype, thumbnail.shape) == (np.uint8, shape)
    grey = cv2.cvtColor(decode_frame(frame), cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, shape[::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(thumbnail.astype(int) - small.reshape(shape)).mean() < 3


GREY_JPEG = file_of(".jpg", IMAGE[..., 0])
FILES = [
    file_of(".jpg", BGR),
    file_of(".jpg", BGR, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    GREY_JPEG,
    file_of(".png", BGR),
    file_of(".png", IMAGE[..., 0].astype(np.uint16)),
    file_of(".webp", BGR),
    file_of(".tiff", BGR),
    file_of(".tiff", IMAGE[..., 0].astype(np.float32)),
]
FORMATS = ["jpeg", "16UC1; png compressed ", "bayer_rggb8; jpeg compressed "]


def decode_or_refuse(data: bytes, name: str) -> None:
    """Decode in both ways: an image or a FrameError, nothing else."""
    frame = compressed(data, name)
    try:
        header = read_image_header(np.frombuffer(data, np.uint8))
    except FrameError:
        for decode in (decode_frame, thumbnail_of):
            with pytest.raises(FrameError):
                decode(frame)
        return
    try:
        decoded = decode_frame(frame)
    except FrameError:
        pass
    else:
        assert decoded.shape == (header.height, header.width, 3)
        assert decoded.dtype == np.uint8
    try:
        thumbnail = thumbnail_of(frame, 8)
    except FrameError:
        pass
    else:
        assert thumbnail.ndim == 2
        assert thumbnail.dtype == np.uint8


@given(
    content=st.binary(max_size=300),
    start=st.sampled_from(
        [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\x40\0\0\0WEBPVP8 ", b"II*\0\x08\0\0\0"]
    ),
    end=st.sampled_from([b"", b"\xff\xd9"]),
    name=st.one_of(st.sampled_from(FORMATS), st.text(max_size=20)),
)
def test_hostile_bytes_are_refused(content: bytes, start: bytes, end: bytes, name: str) -> None:
    decode_or_refuse(start + content + end, name)


@settings(max_examples=300)
@given(
    file=st.sampled_from(FILES),
    changes=st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), max_size=6),
    early=st.lists(st.tuples(st.integers(2, 200), st.integers(0, 255)), max_size=2),
    cut=st.one_of(st.none(), st.integers(0, 3000)),
    name=st.sampled_from(FORMATS),
)
def test_changed_files_are_images_or_refused(
    file: bytes,
    changes: list[tuple[int, int]],
    early: list[tuple[int, int]],
    cut: int | None,
    name: str,
) -> None:
    data = bytearray(file)
    for position, value in [*changes, *early]:
        data[position % len(data)] = value
    decode_or_refuse(bytes(data[:cut]), name)


@example(body=bytes(8) + b"\1" + bytes(4), size=(1, 1), pixels=bytes(2))  # of one pixel
@given(
    body=st.binary(min_size=13, max_size=13),
    size=st.tuples(st.integers(0, 40), st.integers(0, 40)),
    pixels=st.binary(max_size=200),
)
def test_png_of_any_kind_is_a_image_or_refused(
    body: bytes, size: tuple[int, int], pixels: bytes
) -> None:
    """Checksums are right here, so that the decoder looks further."""
    ihdr = struct.pack(">II", *size) + bytes([body[8] % 17, body[9] % 7, 0, 0, body[12] % 2])
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", ihdr) + chunk(b"tRNS", body[:2])
    data += chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    decode_or_refuse(data, "16UC1; png compressed ")
