"""JPEG files with more behind their end, and such whose data is damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from bag_recorder import make_image

from fl_robot_ros.capture.frame_processor import FrameProcessor
from fl_robot_ros.config import ClientSettings
from fl_robot_ros.curation.image_import import import_images
from fl_robot_ros.dataset.dataset import Dataset
from fl_robot_ros.errors import FrameError
from fl_robot_ros.images.decode import decode_frame
from fl_robot_ros.images.frame import CompressedFrame
from fl_robot_ros.images.jpeg_layout import read_jpeg_layout
from fl_robot_ros.images.jpeg_thumbnail import decode_jpeg_thumbnail

SIZES = [(640, 480), (101, 77), (33, 17), (9, 9), (1, 1)]
# As OpenCV numbers them.
S411, S420, S422, S440, S444 = 0x411111, 0x221111, 0x211111, 0x121111, 0x111111
ENCODERS: dict[str, tuple[int, ...]] = {
    "usual": (),
    "coarse": (cv2.IMWRITE_JPEG_QUALITY, 10),
    "own codes": (cv2.IMWRITE_JPEG_OPTIMIZE, 1),
    "restarts": (cv2.IMWRITE_JPEG_RST_INTERVAL, 40),
    "many restarts": (cv2.IMWRITE_JPEG_RST_INTERVAL, 3),
    "progressive": (cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
}
if hasattr(cv2, "IMWRITE_JPEG_SAMPLING_FACTOR"):  # As of OpenCV 4.6.
    factor = cv2.IMWRITE_JPEG_SAMPLING_FACTOR
    names = {"4:1:1": S411, "4:2:2": S422, "4:4:0": S440, "4:4:4": S444}
    ENCODERS |= {name: (factor, sampling) for name, sampling in names.items()}


def encoded(pixels: Any, parameters: tuple[int, ...] = ()) -> bytes:
    done, data = cv2.imencode(".jpg", np.ascontiguousarray(pixels), parameters)
    assert done
    return data.tobytes()


def scene(width: int = 640, height: int = 480) -> Any:
    """Return an image with as much detail as a camera's."""
    noise = np.random.default_rng(5).normal(0, 8, (height, width, 3))
    return np.clip(make_image(4, height, width) + noise, 0, 255).astype(np.uint8)


def frame_of(data: bytes) -> CompressedFrame:
    return CompressedFrame("/camera", 5, 6, "jpeg", data)


def thumbnail(data: bytes) -> Any:
    content = np.frombuffer(data, np.uint8)
    return decode_jpeg_thumbnail(content, read_jpeg_layout(content), 160)


JPEG = encoded(scene())
TAILS = {
    "raw size": bytes(640 * 480 * 3 - len(JPEG)),
    "older frame": encoded(scene()[::-1])[len(JPEG) // 2 :],
    "video": b"\0\0\0\x18ftypmp42" + np.random.default_rng(1).bytes(200_000),
    "second image": encoded(make_image(3)),
    "odd byte": b"\xff",
}


@pytest.mark.parametrize("tail", list(TAILS.values()), ids=list(TAILS))
@pytest.mark.parametrize("parameters", list(ENCODERS.values()), ids=list(ENCODERS))
def test_what_lies_behind_the_end_is_no_part_of_a_frame(
    tmp_path: Path, parameters: tuple[int, ...], tail: bytes
) -> None:
    jpeg = encoded(scene(), parameters)
    frame = frame_of(jpeg + tail)
    np.testing.assert_array_equal(decode_frame(frame), decode_frame(frame_of(jpeg)))
    sample = FrameProcessor(ClientSettings()).process(frame).sample
    assert sample is not None
    assert sample.image_bytes == jpeg
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "photo.jpg").write_bytes(jpeg + tail)
    with Dataset(tmp_path / "data") as dataset:
        assert not import_images(dataset, tmp_path / "cat", label="cat").unreadable
        (stored,) = dataset.samples()
        assert (dataset.path / stored.path).read_bytes() == jpeg


@pytest.mark.parametrize("share", [0.2, 0.9])
def test_a_frame_cut_off_and_filled_up_is_refused(share: float) -> None:
    frame = frame_of(JPEG[: int(share * len(JPEG))].ljust(640 * 480 * 3, b"\0"))
    processed = FrameProcessor(ClientSettings()).process(frame)
    assert (processed.sample, processed.verdict) == (None, "bad_encoding")
    assert "lacks its end" in processed.reason


def damaged(data: bytes, kind: str) -> bytes:
    """Return a file with damage in the middle of its data."""
    start, lost = len(data) // 2, min(3000, len(data) // 4)
    if kind == "lost packets":
        return data[:start] + data[start + lost :]
    if kind == "a packet twice":
        return data[:start] + data[start - lost :]
    if kind == "restarts in disorder":
        return data.replace(b"\xff\xd3", b"\xff\xd4", 1)
    return data[:start] + bytes.fromhex(kind) + data[start + len(kind) // 2 :]


# The marker of a second image, and of its end: a part of another frame.
DAMAGE = ["lost packets", "ffd8", "ff17", "ffd9"]


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("encoder", [name for name in ENCODERS if name != "progressive"])
def test_damage_in_the_middle_is_no_sample(tmp_path: Path, encoder: str, kind: str) -> None:
    data = damaged(encoded(scene(), ENCODERS[encoder]), kind)
    for masks in ((), ("camera: 0,0 0.5,0 0.5,1",)):
        processed = FrameProcessor(ClientSettings(privacy_masks=masks)).process(frame_of(data))
        assert (processed.sample, processed.verdict) == (None, "bad_encoding")
        assert "the JPEG file is damaged" in processed.reason
        assert len(processed.reason) < 300
    (tmp_path / "photo.jpg").write_bytes(data)
    with Dataset(tmp_path / "data") as dataset:
        report = import_images(dataset, tmp_path, label="cat")
    ((_, reason),) = report.unreadable
    assert "damaged" in reason


@pytest.mark.parametrize("kind", ["a packet twice", "restarts in disorder"])
def test_restart_markers_that_are_not_in_order_are_damage(kind: str) -> None:
    data = encoded(scene(), ENCODERS["restarts"])
    with pytest.raises(FrameError, match="of its 29 restart markers"):
        thumbnail(damaged(data, kind))


def test_a_restart_marker_before_the_end_is_no_damage() -> None:
    data = encoded(scene(), ENCODERS["restarts"])
    more = data[:-2] + b"\xff\xd5" + data[-2:]
    np.testing.assert_array_equal(thumbnail(more), thumbnail(data))


def test_damage_of_a_grey_image_is_seen() -> None:
    data = encoded(scene()[..., 0])
    assert FrameProcessor(ClientSettings()).process(frame_of(data)).sample is not None
    assert (
        FrameProcessor(ClientSettings()).process(frame_of(damaged(data, "lost packets"))).sample
        is None
    )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("parameters", list(ENCODERS.values()), ids=list(ENCODERS))
def test_a_image_may_be_as_grey_as_one_without_data(
    parameters: tuple[int, ...], size: tuple[int, int]
) -> None:
    width, height = size
    for value in (127, 128, 129):
        grey = np.full((height, width, 3), value, np.uint8)
        below = scene(width, height)
        below[height // 2 :] = value
        coloured = np.full_like(grey, (128, 90, 148))
        for pixels in (grey, grey[..., 0], below, coloured):
            data = encoded(pixels, parameters)
            expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
            assert expected is not None
            small = thumbnail(data)
            assert abs(int(small[-1, -1]) - int(expected[-1, -1])) <= 1
