from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from rosbags.highlevel import AnyReader

from fl_robot_ros.demo.recording import record_bag
from fl_robot_ros.errors import BagError

START_NS = 1_700_000_000_123_456_789
LABELS = ["3", "3", "", "4", "4", "4"]

Recorded = list[tuple[str, int, Any]]


def make_frames() -> list[tuple[NDArray[np.uint8], str]]:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (len(LABELS), 6, 8, 3), np.uint8)
    smooth = [np.asarray(cv2.resize(image, (64, 48)), np.uint8) for image in coarse]
    return list(zip(smooth, LABELS, strict=True))


def read(path: Path) -> Recorded:
    with AnyReader([path]) as reader:
        return [
            (connection.topic, stamp_ns, reader.deserialize(data, connection.msgtype))
            for connection, stamp_ns, data in reader.messages()
        ]


def test_raw_frames_come_back_bit_for_bit(tmp_path: Path) -> None:
    frames = make_frames()
    count = record_bag(tmp_path / "bag", frames, compressed=False, start_ns=START_NS)
    images = [(at, m) for topic, at, m in read(tmp_path / "bag") if topic == "/camera/image_raw"]
    assert count == len(images) == len(frames)
    for number, ((at, message), (rgb, _)) in enumerate(zip(images, frames, strict=True)):
        assert at == START_NS + round(number * 1e9 / 30)
        assert message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec == at
        assert (message.encoding, message.height, message.width) == ("rgb8", 48, 64)
        assert message.step == 192
        np.testing.assert_array_equal(message.data.reshape(48, 64, 3), rgb)


def test_compressed_frames_are_jpeg_of_the_same_image(tmp_path: Path) -> None:
    frames = make_frames()
    record_bag(tmp_path / "bag", frames, image_topic="/eye", compressed=True, start_ns=START_NS)
    images = [message for topic, _, message in read(tmp_path / "bag") if topic == "/eye"]
    assert len(images) == len(frames)
    for message, (rgb, _) in zip(images, frames, strict=True):
        assert message.format == "jpeg"
        bgr = cv2.imdecode(message.data, cv2.IMREAD_COLOR)
        assert bgr is not None
        decoded = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB).astype(np.float64)
        assert np.abs(decoded - rgb).mean() < 5.0


def test_a_label_is_told_once_just_before_its_first_frame(tmp_path: Path) -> None:
    record_bag(tmp_path / "bag", make_frames(), rate_hz=10.0, compressed=False, start_ns=START_NS)
    recorded = read(tmp_path / "bag")
    told = [(at, message.data) for topic, at, message in recorded if topic == "/fl/label"]
    assert [label for _, label in told] == ["3", "", "4"]
    for (at, _), number in zip(told, (0, 2, 3), strict=True):
        assert at == START_NS + (number * 100 - 50) * 1_000_000
    held, seen = "", []
    for topic, _, message in recorded:
        if topic == "/fl/label":
            held = message.data
        else:
            seen.append(held)
    assert seen == LABELS


def test_an_existing_bag_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "bag").mkdir()
    with pytest.raises(BagError, match="exists already"):
        record_bag(tmp_path / "bag", make_frames(), compressed=False, start_ns=START_NS)
    assert list((tmp_path / "bag").iterdir()) == []


def test_a_frame_that_is_not_rgb_is_refused(tmp_path: Path) -> None:
    grey = np.zeros((48, 64), np.uint8)
    with pytest.raises(BagError, match=r"\(48, 64\)"):
        record_bag(tmp_path / "bag", [(grey, "3")], compressed=False, start_ns=START_NS)


def test_a_rate_of_zero_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BagError, match=r"0\.0 Hz"):
        record_bag(tmp_path / "bag", [], rate_hz=0.0, compressed=False, start_ns=START_NS)
