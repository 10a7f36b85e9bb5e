"""cv_bridge, where it works, gives the same pixels as our own decoder; where not, ours serves."""

from __future__ import annotations

import array
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from fl_robot_ros.errors import FrameError
from fl_robot_ros.images.decode import decode_frame
from fl_robot_ros.images.encoding import ENCODINGS
from fl_robot_ros.images.frame import CompressedFrame, RawFrame
from fl_robot_ros.ros.frame_decoder import BRIDGED_ENCODINGS, BridgeDecoder, find_decoder

HEIGHT, WIDTH = 12, 16


def frame(
    encoding: str, padding_bytes: int = 0, height: int = HEIGHT, width: int = WIDTH
) -> RawFrame:
    kind = ENCODINGS[encoding]
    step = width * kind.channels * kind.value_bytes + padding_bytes
    size = round(height * kind.rows_per_pixel_row) * step
    data = np.random.default_rng(3).integers(0, 256, size, np.uint8).tobytes()
    return RawFrame("/camera", 1, 1, encoding, height, width, step, False, array.array("B", data))


@pytest.fixture(scope="module")
def bridge() -> BridgeDecoder:
    decode, line = find_decoder()
    if not isinstance(decode, BridgeDecoder):
        pytest.skip(line)
    return decode


def test_cv_bridge_gives_the_same_pixels(bridge: BridgeDecoder) -> None:
    for encoding in BRIDGED_ENCODINGS:
        taken = frame(encoding)
        ours = decode_frame(taken)
        np.testing.assert_array_equal(bridge.convert(taken), ours, encoding)
        np.testing.assert_array_equal(bridge(taken), ours, encoding)


@pytest.mark.parametrize("padding_bytes", [0, 2, 8])
def test_every_frame_has_the_same_pixels(bridge: BridgeDecoder, padding_bytes: int) -> None:
    for encoding in ENCODINGS:
        taken = frame(encoding, padding_bytes)
        np.testing.assert_array_equal(bridge(taken), decode_frame(taken), encoding)


def test_broken_frames_have_the_same_errors(bridge: BridgeDecoder) -> None:
    short = RawFrame("/camera", 1, 1, "bgr8", HEIGHT, WIDTH, 3 * WIDTH, False, b"short")
    for broken in (short, CompressedFrame("/camera", 1, 1, "jpeg", b"no file")):
        with pytest.raises(FrameError) as ours:
            decode_frame(broken)
        with pytest.raises(FrameError) as theirs:
            bridge(broken)
        assert str(theirs.value) == str(ours.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("raise ImportError('numpy failed\\nto import')", "to import"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "signal 11 ended it"),
        ("class CvBridge:\n    def imgmsg_to_cv2(self, *_): raise TypeError('16')", "16"),
        (
            "class CvBridge:\n    def imgmsg_to_cv2(self, image, _): return image.data",
            "other pixels for bgr8",
        ),
    ],
)
def test_a_cv_bridge_that_does_not_work_is_left_alone(
    content: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cv_bridge.py").write_text(content)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delitem(sys.modules, "cv_bridge", raising=False)
    decode, line = find_decoder()
    assert decode is decode_frame
    assert line.startswith("raw frames are decoded without cv_bridge (it does not work here: ")
    assert reason in line
    assert "\n" not in line
    assert "cv_bridge" not in sys.modules
