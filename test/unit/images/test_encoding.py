"""Every encoding of raw images, its bytes built here pixel by pixel."""

from __future__ import annotations

import re
import struct
from typing import Any

import numpy as np
import pytest
from bag_recorder import make_image
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fl_robot_ros.errors import FrameError
from fl_robot_ros.images.decode import decode_frame
from fl_robot_ros.images.encoding import ENCODINGS, SUPPORTED_ENCODINGS
from fl_robot_ros.images.frame import RawFrame

IMAGE = make_image(4, 12, 16)
CHANNELS = {
    "rgb": "RGB",
    "bgr": "BGR",
    "rgba": "RGBA",
    "bgra": "BGRA",
    "8UC3": "BGR",
    "8UC4": "BGRA",
    "16UC3": "BGR",
    "16UC4": "BGRA",
}
COLOURS = [
    *[name + bits for name in ("rgb", "bgr", "rgba", "bgra") for bits in ("8", "16")],
    *["8UC3", "8UC4", "16UC3", "16UC4"],
]
# The colours of the first two pixels of the first two rows.
MOSAICS = {"rggb": "RGGB", "bggr": "BGGR", "gbrg": "GBRG", "grbg": "GRBG"}


def frame_of(
    encoding: str,
    rows: list[bytes],
    width: int,
    height: int,
    *,
    padding: int = 0,
    is_bigendian: bool = False,
) -> RawFrame:
    """Return rows of bytes as a frame; the last row comes without its padding."""
    data = (b"\xa5" * padding).join(rows)
    step = len(rows[0]) + padding
    return RawFrame("/camera", 5, 6, encoding, height, width, step, is_bigendian, data)


def numbers(values: list[int], *, wide: bool, is_bigendian: bool) -> bytes:
    """Return 8-bit values as bytes, or as the high bytes of 16-bit numbers."""
    if not wide:
        return bytes(values)
    order = ">" if is_bigendian else "<"
    return struct.pack(f"{order}{len(values)}H", *((value << 8) | 0x5A for value in values))


def yuv(colour: list[int]) -> tuple[int, int, int]:
    """Return BT.601 of limited range (ITU-R BT.601-7, 2.5.3) of an RGB colour."""
    red, green, blue = (value / 255 for value in colour)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return (
        round(16 + 219 * luma),
        round(128 + 112 * (blue - luma) / 0.886),
        round(128 + 112 * (red - luma) / 0.701),
    )


@pytest.mark.parametrize("is_bigendian", [False, True])
@pytest.mark.parametrize("padding", [0, 1, 7])
@pytest.mark.parametrize("encoding", COLOURS)
def test_colours(encoding: str, padding: int, is_bigendian: bool) -> None:
    order = CHANNELS.get(encoding) or CHANNELS[re.sub(r"\d+$", "", encoding)]
    rows = []
    for row in IMAGE.tolist():
        values = [
            dict(zip("RGBA", [*pixel, 77], strict=True))[name] for pixel in row for name in order
        ]
        rows.append(numbers(values, wide="16" in encoding, is_bigendian=is_bigendian))
    frame = frame_of(encoding, rows, 16, 12, padding=padding, is_bigendian=is_bigendian)
    decoded = decode_frame(frame)
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, IMAGE)


@pytest.mark.parametrize("is_bigendian", [False, True])
@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("encoding", ["mono8", "8UC1", "mono16"])
def test_grey(encoding: str, padding: int, is_bigendian: bool) -> None:
    grey = IMAGE[..., 1]
    wide = encoding == "mono16"
    rows = [numbers(row, wide=wide, is_bigendian=is_bigendian) for row in grey.tolist()]
    frame = frame_of(encoding, rows, 16, 12, padding=padding, is_bigendian=is_bigendian)
    np.testing.assert_array_equal(decode_frame(frame), np.stack([grey] * 3, axis=2))


@pytest.mark.parametrize("is_bigendian", [False, True])
@pytest.mark.parametrize(("width", "height"), [(8, 6), (7, 5), (3, 3)])
@pytest.mark.parametrize("bits", ["8", "16"])
@pytest.mark.parametrize("name", MOSAICS)
def test_mosaics(name: str, bits: str, width: int, height: int, is_bigendian: bool) -> None:
    colour = {"R": 210, "G": 120, "B": 30}
    rows = []
    for y in range(height):
        row = [colour[MOSAICS[name][2 * (y % 2) + x % 2]] for x in range(width)]
        rows.append(numbers(row, wide=bits == "16", is_bigendian=is_bigendian))
    encoding = f"bayer_{name}{bits}"
    frame = frame_of(encoding, rows, width, height, padding=5, is_bigendian=is_bigendian)
    expected = np.broadcast_to(np.array([210, 120, 30], np.uint8), (height, width, 3))
    np.testing.assert_array_equal(decode_frame(frame), expected)


def pairs_of_colours(height: int, width: int) -> NDArray[np.uint8]:
    """Return an image whose blocks of 2x2 pixels have one colour, which chroma needs."""
    small = np.random.default_rng(8).integers(0, 256, (height // 2, width // 2, 3), np.uint8)
    return small.repeat(2, axis=0).repeat(2, axis=1)


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("encoding", ["uyvy", "yuv422", "yuyv", "yuv422_yuy2"])
def test_packed_yuv(encoding: str, padding: int) -> None:
    pixels = pairs_of_colours(6, 8)[:5]
    rows = []
    for row in pixels.tolist():
        values: list[int] = []
        for left, right in zip(row[::2], row[1::2], strict=True):
            (y0, u, v), (y1, _, _) = yuv(left), yuv(right)
            values += [u, y0, v, y1] if encoding in ("uyvy", "yuv422") else [y0, u, y1, v]
        rows.append(bytes(values))
    decoded = decode_frame(frame_of(encoding, rows, 8, 5, padding=padding))
    assert np.abs(decoded.astype(int) - pixels).max() <= 3


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("encoding", ["nv12", "nv21"])
def test_planar_yuv(encoding: str, padding: int) -> None:
    pixels = pairs_of_colours(6, 8)
    rows = [bytes(yuv(pixel)[0] for pixel in row) for row in pixels.tolist()]
    for row in pixels[::2, ::2].tolist():
        chroma = [yuv(pixel)[1:] for pixel in row]
        rows.append(bytes(v for uv in chroma for v in (uv if encoding == "nv12" else uv[::-1])))
    decoded = decode_frame(frame_of(encoding, rows, 8, 6, padding=padding))
    assert np.abs(decoded.astype(int) - pixels).max() <= 3


def measured(
    encoding: str, values: NDArray[Any], *, is_bigendian: bool = False
) -> NDArray[np.uint8]:
    """Decode measurements, see that the image is grey, and return one channel."""
    code = {"16UC1": "H", "32FC1": "f"}[encoding]
    order = ">" if is_bigendian else "<"
    rows = [struct.pack(f"{order}{len(row)}{code}", *row) for row in values.tolist()]
    height, width = values.shape
    frame = frame_of(encoding, rows, width, height, padding=3, is_bigendian=is_bigendian)
    decoded = decode_frame(frame)
    np.testing.assert_array_equal(decoded[..., 0], decoded[..., 1])
    np.testing.assert_array_equal(decoded[..., 0], decoded[..., 2])
    return decoded[..., 0]


@pytest.mark.parametrize("is_bigendian", [False, True])
@pytest.mark.parametrize(("encoding", "unit"), [("16UC1", 1000), ("32FC1", 1.0)])
def test_measurements_spread_over_the_usual_range(
    encoding: str, unit: float, is_bigendian: bool
) -> None:
    ramp = np.linspace(1, 5, 4000).reshape(40, 100) * unit
    ramp = ramp.astype(np.uint16) if encoding == "16UC1" else ramp
    grey = measured(encoding, ramp, is_bigendian=is_bigendian)
    assert grey[0, 0] == 1
    assert grey[-1, -1] == 255
    assert abs(int(grey[20, 0]) - 128) <= 1
    assert (np.diff(grey.reshape(-1).astype(int)) >= 0).all()
    # One wild value leaves the others as they are.
    ramp[7, 7] = 60 * unit
    wild = measured(encoding, ramp, is_bigendian=is_bigendian)
    assert wild[7, 7] == 255
    wild[7, 7] = grey[7, 7]
    assert np.abs(wild.astype(int) - grey).max() <= 1


def test_missing_measurements_are_black() -> None:
    depth = np.full((4, 6), 1500)
    depth[0] = 2500
    depth[1, 1] = 0
    grey = measured("16UC1", depth)
    assert (grey[0] == 255).all()
    assert grey[1, 1] == 0
    assert grey[1, 2] == 1
    metres = depth / 1000
    metres[1, :3] = [np.nan, np.inf, -np.inf]
    assert measured("32FC1", metres)[1].tolist() == [0, 255, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("encoding", "value", "expected"),
    [
        ("16UC1", 0, 0),
        ("16UC1", 700, 128),
        ("32FC1", 0.0, 128),
        ("32FC1", -3.5, 128),
        ("32FC1", float("nan"), 0),
        ("32FC1", float("inf"), 128),
        ("32FC1", 3e38, 128),
        ("32FC1", 1e-45, 128),
    ],
)
def test_constant_measurements(encoding: str, value: float, expected: int) -> None:
    values = np.full((5, 5), value, np.uint16 if encoding == "16UC1" else np.float64)
    assert (measured(encoding, values) == expected).all()


def test_few_measurements_in_a_large_image_are_seen() -> None:
    depth = np.zeros((601, 801))
    depth[1, 1:5] = [1000, 2000, 3000, 4000]
    grey = measured("16UC1", depth.astype(np.uint16))
    assert grey[1, 1] == 1
    assert grey[1, 4] == 255
    assert np.count_nonzero(grey) == 4


@pytest.mark.parametrize(
    ("encoding", "width", "height", "words"),
    [
        ("uyvy", 5, 4, "even width"),
        ("yuv422_yuy2", 1, 1, "even width"),
        ("nv12", 5, 4, "even width and an even height"),
        ("nv21", 4, 5, "even width and an even height"),
        ("bayer_rggb8", 2, 9, "3 or more"),
        ("bayer_gbrg16", 9, 2, "3 or more"),
        ("mono8", 0, 4, "1 or more"),
        ("rgb8", 4, 0, "1 or more"),
    ],
)
def test_sizes_that_cannot_be_are_refused(
    encoding: str, width: int, height: int, words: str
) -> None:
    frame = RawFrame("/camera", 5, 6, encoding, height, width, 100, False, bytes(10000))
    with pytest.raises(FrameError, match=f"{encoding} image of {width}x{height}.*{words}"):
        decode_frame(frame)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_one_byte_less_than_needed_is_refused(encoding: str) -> None:
    value_bytes = 4 if "32" in encoding else 2 if "16" in encoding else 1
    values = len(CHANNELS.get(encoding) or CHANNELS.get(re.sub(r"\d+$", "", encoding), "-"))
    if encoding.startswith(("yuv", "uyvy", "yuyv")):
        values = 2
    row_bytes = 4 * values * value_bytes
    needed = 40 * (5 if encoding.startswith("nv") else 3) + row_bytes
    whole = RawFrame("/camera", 5, 6, encoding, 4, 4, 40, False, bytes(needed))
    assert decode_frame(whole).shape == (4, 4, 3)
    for changes in ({"data": bytes(needed - 1)}, {"step": row_bytes - 1}):
        broken = RawFrame(**{**whole.__dict__, **changes})
        with pytest.raises(FrameError, match=f"expected a step of {row_bytes} or more and"):
            decode_frame(broken)


@pytest.mark.parametrize(
    "name", ["32FC2", "32FC3", "64FC1", "8UC2", "8SC1", "nv24", "rgb", "RGB8", "", "x\ny" * 9999]
)
def test_what_is_no_image_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(FrameError, match="not supported; the supported ones are rgb8") as info:
        decode_frame(RawFrame("/camera", 5, 6, name, 4, 4, 100, False, bytes(1000)))
    assert len(str(info.value)) < 350
    assert "\n" not in str(info.value)


def test_the_list_of_encodings_is_whole() -> None:
    names = set()
    for word in re.split(r", (?![^{]*})| and ", SUPPORTED_ENCODINGS):
        both = re.fullmatch(r"(.+)8/16", word)
        stems = [both[1]] if both else [word]
        if "{" in word:
            start, inner = stems[0].rstrip("}").split("{")
            stems = [start + name for name in inner.split(",")]
        names |= {stem + bits for stem in stems for bits in (("8", "16") if both else ("",))}
    assert names == set(ENCODINGS)


SIZES = st.one_of(st.integers(0, 9), st.sampled_from([2**31 - 1, 2**31, 2**32 - 1]))


@given(
    encoding=st.one_of(st.sampled_from(sorted(ENCODINGS)), st.text(max_size=8)),
    height=SIZES,
    width=SIZES,
    step=st.one_of(SIZES, st.integers(0, 80)),
    is_bigendian=st.booleans(),
    data=st.binary(max_size=400),
)
def test_hostile_images_are_images_or_refused(
    encoding: str, height: int, width: int, step: int, is_bigendian: bool, data: bytes
) -> None:
    frame = RawFrame("/camera", 5, 6, encoding, height, width, step, is_bigendian, data)
    try:
        decoded = decode_frame(frame)
    except FrameError:
        return
    assert decoded.shape == (height, width, 3)
    assert decoded.dtype == np.uint8


@given(data=st.binary(min_size=96, max_size=96), is_bigendian=st.booleans())
def test_any_floats_are_a_image(data: bytes, is_bigendian: bool) -> None:
    frame = RawFrame("/camera", 5, 6, "32FC1", 4, 6, 24, is_bigendian, data)
    assert decode_frame(frame).shape == (4, 6, 3)
