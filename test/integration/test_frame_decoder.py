"""cv_bridge, where it works, gives the same pixels as our own decoder; where not, ours serves."""

from __future__ import annotations

import array
import logging
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sensor_msgs.msg import Image

from fl_robot_ros.errors import FrameError
from fl_robot_ros.images.decode import decode_frame
from fl_robot_ros.images.encoding import ENCODINGS
from fl_robot_ros.images.frame import RawFrame
from fl_robot_ros.ros.frame_decoder import BRIDGED_ENCODINGS, load_bridge, to_rgb
from fl_robot_ros.ros.image_message import frame_from_image

HEIGHT, WIDTH = 12, 16


def message(encoding: str, padding_bytes: int = 0) -> Image:
    kind = ENCODINGS[encoding]
    step = WIDTH * kind.channels * kind.value_bytes + padding_bytes
    size = round(HEIGHT * kind.rows_per_pixel_row) * step
    data = np.random.default_rng(3).integers(0, 256, size, np.uint8).tobytes()
    return Image(
        encoding=encoding, height=HEIGHT, width=WIDTH, step=step, data=array.array("B", data)
    )


def frame(taken: Image) -> RawFrame:
    return frame_from_image(taken, "/camera", 1)


def ours(taken: Image) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return decode_frame(replace(frame(taken), to_rgb=None))


@pytest.fixture
def fresh_bridge() -> Iterator[None]:
    """Have cv_bridge looked for anew, before and after the test."""
    load_bridge.cache_clear()
    sys.modules.pop("cv_bridge", None)
    yield
    load_bridge.cache_clear()
    sys.modules.pop("cv_bridge", None)


def test_cv_bridge_gives_the_same_pixels() -> None:
    if load_bridge() is None:
        pytest.skip("cv_bridge is not installed, or does not work here")
    for encoding in BRIDGED_ENCODINGS:
        converted = to_rgb(message(encoding))
        assert converted is not None, encoding
        np.testing.assert_array_equal(converted, ours(message(encoding)), encoding)


@pytest.mark.parametrize("padding_bytes", [0, 2, 8])
def test_every_message_has_the_same_pixels(padding_bytes: int) -> None:
    for encoding in ENCODINGS:
        taken = message(encoding, padding_bytes)
        np.testing.assert_array_equal(decode_frame(frame(taken)), ours(taken), encoding)


def test_a_message_without_its_pixels_has_its_error() -> None:
    broken = message("bgr8")
    broken.data = array.array("B", b"short")
    with pytest.raises(FrameError, match="bgr8 image of 16x12 pixels with step 48 and 5 bytes"):
        decode_frame(frame(broken))


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, source: str, built_for: str) -> None:
    """Install a cv_bridge of our own making."""
    package = folder / "cv_bridge"
    (package / "boost").mkdir(parents=True)
    (package / "__init__.py").write_text(source)
    (package / "boost" / "cv_bridge_boost.so").write_bytes(
        b"\x7fELF\0" + built_for.encode() + b"\0"
    )
    monkeypatch.syspath_prepend(str(folder))


NUMPY_1 = "numpy.core._multiarray_umath"
NUMPY_2 = f"numpy._core._multiarray_umath\0{NUMPY_1}"
CONVERTER = """
import numpy as np

class CvBridge:
    def imgmsg_to_cv2(self, image, encoding):
        if image.encoding == "mono8":
            raise TypeError("16")
        return np.full((image.height, image.width, 3), 7, np.uint8)
"""


@pytest.mark.usefixtures("fresh_bridge")
def test_cv_bridge_converts_what_both_convert_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, CONVERTER, NUMPY_2)
    assert (decode_frame(frame(message("bgr8"))) == 7).all()
    others = [message("rgb8"), message("mono16"), message("bgr8", padding_bytes=2)]
    others.append(message("mono8"))  # on which this cv_bridge fails
    for taken in others:
        np.testing.assert_array_equal(decode_frame(frame(taken)), ours(taken))


@pytest.mark.usefixtures("fresh_bridge")
@pytest.mark.parametrize(
    ("source", "built_for", "numpy_version", "reason"),
    [
        (CONVERTER, NUMPY_1, "2.1.0", "it was built for NumPy 1, and this is 2.1.0"),
        ("raise ImportError('numpy failed to import')", NUMPY_1, "1.26.4", "numpy failed"),
        ("raise AttributeError('_ARRAY_API not found')", NUMPY_2, "2.1.0", "_ARRAY_API not"),
        ("import fl_no_such_module", NUMPY_2, "2.1.0", "No module named 'fl_no_such_module'"),
    ],
)
def test_a_cv_bridge_that_does_not_work_is_left_alone(
    source: str,
    built_for: str,
    numpy_version: str,
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    install(tmp_path, monkeypatch, source, built_for)
    monkeypatch.setattr(np, "__version__", numpy_version)
    for _ in range(2):
        np.testing.assert_array_equal(decode_frame(frame(message("bgr8"))), ours(message("bgr8")))
    (line,) = caplog.messages
    assert line.startswith("raw images are decoded without cv_bridge: ")
    assert reason in line


@pytest.mark.usefixtures("fresh_bridge")
def test_a_cv_bridge_of_numpy_1_is_used_beside_numpy_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, CONVERTER, NUMPY_1)
    monkeypatch.setattr(np, "__version__", "1.26.4")
    assert (decode_frame(frame(message("bgr8"))) == 7).all()
