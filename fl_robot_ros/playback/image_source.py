"""Sources of images: a folder, a video, a camera."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.config import ClientSettings
from fl_robot_ros.errors import SourceError
from fl_robot_ros.images.image_files import read_image
from fl_robot_ros.labels.image_folder import read_image_folder
from fl_robot_ros.playback.source import Item, StreamedImage

# The default rate of capture, so that a robot keeps every image.
FOLDER_RATE_HZ = ClientSettings.sample_rate_hz
_FALLBACK_VIDEO_HZ = 30.0  # Where a file does not say.


class _ImageSource:
    """A source without recorded topics."""

    is_live = False

    def __init__(self) -> None:
        self.image_types: dict[str, str] = {}
        self.label_topics: tuple[str, ...] = ()
        self.skipped: list[str] = []


class FolderSource(_ImageSource):
    """The images of a folder in the order of their names, labelled as `read_image_folder` does."""

    def __init__(self, folder: Path, rate_hz: float = FOLDER_RATE_HZ) -> None:
        """List the images.

        Args:
            folder: Images, with or without class folders and split folders.
            rate_hz: Images per second.

        Raises:
            SourceError: The folder has no images, or ambiguous labels.
        """
        super().__init__()
        found = read_image_folder(folder)
        self.skipped = found.left_out_lines()
        self.images = [(image.path, image.label) for image in found.images]
        self._rate_hz = rate_hz
        labels = {label for _, label in self.images if label}
        self._labelled = bool(labels)
        without = sum(not label for _, label in self.images)
        self.description = "; ".join(
            [
                f"{len(self.images)} images of {len(labels)} classes in {folder}",
                *([f"{without} without a label"] if without and labels else []),
                *found.remarks,
            ]
        )

    def items(self) -> Iterator[Item]:
        """Yield every readable image."""
        for index, (path, label) in enumerate(self.images):
            image = read_image(path)
            if image is None:
                self.skipped.append(f"{path} cannot be read as an image")
                continue
            yield StreamedImage(image, label if self._labelled else None, index / self._rate_hz)

    def close(self) -> None:
        """Do nothing: no file is open between two images."""


class VideoSource(_ImageSource):
    """A video file or network stream by OpenCV."""

    def __init__(self, place: str) -> None:
        """Open the video.

        Args:
            place: Path or URL.

        Raises:
            SourceError: OpenCV cannot open it.
        """
        super().__init__()
        self._place = place
        self._capture = _open_capture(place, f"video {place}")
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self._rate_hz = rate if math.isfinite(rate) and 0 < rate <= 1000 else _FALLBACK_VIDEO_HZ
        self._is_used = False
        self.description = f"video {place} ({self._rate_hz:g} Hz)"

    def items(self) -> Iterator[Item]:
        """Yield every frame.

        Raises:
            SourceError: The video cannot be opened again.
        """
        if self._is_used:  # Reopened, because not every format can be rewound.
            self._capture.release()
            self._capture = _open_capture(self._place, f"video {self._place}")
        self._is_used = True
        index = 0
        while (image := _read_rgb(self._capture)) is not None:
            yield StreamedImage(image, None, index / self._rate_hz)
            index += 1

    def close(self) -> None:
        """Close the file."""
        self._capture.release()


class CameraSource(_ImageSource):
    """A camera by cv2.VideoCapture."""

    is_live = True

    def __init__(self, device: int | str, rate_hz: float = 0.0) -> None:
        """Open the camera.

        Args:
            device: Number of the camera, or its device file.
            rate_hz: Frames per second to keep; 0: all.

        Raises:
            SourceError: The camera is missing or cannot be opened.
        """
        super().__init__()
        if isinstance(device, int) and Path("/dev").exists():
            device_file = Path(f"/dev/video{device}")
            if Path("/sys/class").exists() and not device_file.exists():
                raise SourceError(f"there is no camera {device}: {device_file} does not exist")
        self.description = f"camera {device}"
        self._period_sec = 1.0 / rate_hz if rate_hz > 0 else 0.0
        self._capture = _open_capture(device, self.description)

    def items(self) -> Iterator[Item]:
        """Yield frames as they come.

        Raises:
            SourceError: The camera delivers no more frames.
        """
        start = time.monotonic()
        next_sec = 0.0
        while (image := _read_rgb(self._capture)) is not None:
            now_sec = time.monotonic() - start
            if now_sec < next_sec:
                continue
            # On a time grid, so that the jitter of single frames does not lower the rate.
            next_sec = max(next_sec + self._period_sec, now_sec - self._period_sec)
            yield StreamedImage(image, None, now_sec)
        raise SourceError(f"{self.description} stopped delivering frames")

    def close(self) -> None:
        """Release the camera."""
        self._capture.release()


def _open_capture(place: int | str, description: str) -> cv2.VideoCapture:
    capture = cv2.VideoCapture(place)
    if not capture.isOpened():
        capture.release()
        raise SourceError(f"{description} cannot be opened by OpenCV")
    return capture


def _read_rgb(capture: cv2.VideoCapture) -> NDArray[np.uint8] | None:
    """Return the next frame, uint8 (H, W, 3) RGB; None at the end."""
    done, image = capture.read()
    if not done or image is None:
        return None
    code = cv2.COLOR_GRAY2RGB if image.ndim == 2 else cv2.COLOR_BGR2RGB
    return np.asarray(cv2.cvtColor(image, code), dtype=np.uint8)
