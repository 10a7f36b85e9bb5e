"""From a frame to the JPEG file that may be stored: masked, measured, encoded."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.capture.new_sample import NewSample
from fl_robot_ros.capture.privacy_mask import OtherNames, PrivacyMasks, painted
from fl_robot_ros.capture.verdicts import Verdict
from fl_robot_ros.config import ClientSettings
from fl_robot_ros.errors import FrameError
from fl_robot_ros.images.decode import decode_frame, decode_grey_thumbnail, read_frame_header
from fl_robot_ros.images.frame import CompressedFrame, Frame, frame_bytes, frame_digest
from fl_robot_ros.images.image_quality import MEASURED_SIDE_PX, ImageQuality, measure_quality
from fl_robot_ros.images.jpeg import encode_jpeg


class ProcessedFrame(NamedTuple):
    """What became of a frame.

    Attributes:
        sample: The sample, still without its label; None where there is none.
        fingerprint: The image's difference hash; 0 where no setting asks for it.
        verdict: Why there is no sample, None where there is one.
        reason: The same in words, where more can be said.
    """

    sample: NewSample | None
    fingerprint: int = 0
    verdict: Verdict | None = None
    reason: str = ""


class FrameProcessor:
    """Turns frames into samples. Safe for use from several threads."""

    def __init__(self, settings: ClientSettings, other_names: OtherNames | None = None) -> None:
        """Read the masks.

        Args:
            settings: JPEG quality, privacy masks, and which images are worth keeping.
            other_names: Other names of topics, as before a remapping.

        Raises:
            SettingError: A privacy mask is invalid.
        """
        self._settings = settings
        self._masks = PrivacyMasks(settings.privacy_masks, other_names)
        # Images are measured only where one could be dropped for it.
        self._is_measured = (
            settings.min_brightness > 0
            or settings.max_brightness < 255
            or settings.min_sharpness > 0
            or settings.min_difference_bits > 0
        )

    def process(self, frame: Frame) -> ProcessedFrame:
        """Turn a frame into a sample, or say why not; never raises for a frame's content.

        A JPEG frame of three channels is stored byte for byte where no mask covers it, without
        what lies behind its end, once it has been seen to be whole.
        """
        try:
            return self._process(frame)
        except FrameError as error:
            reason = str(error)
        except Exception as error:
            # An unforeseen frame must not end the capture.
            reason = repr(error)
        return ProcessedFrame(
            None, verdict=Verdict.BAD_ENCODING, reason=f"topic {frame.topic}: {reason}"
        )

    def _process(self, frame: Frame) -> ProcessedFrame:
        polygons = self._masks.of(frame.topic)
        header = read_frame_header(frame) if isinstance(frame, CompressedFrame) else None
        if isinstance(frame, CompressedFrame) and header is not None and header.jpeg is not None:
            # Damage, which makes a thumbnail fail, is no matter for the decoder of an image.
            grey = decode_grey_thumbnail(frame, header, MEASURED_SIDE_PX)
            if header.is_rgb_jpeg and not polygons:
                content = frame_bytes(frame.data)[: header.end].tobytes
                return self._judged(frame, lambda: grey, header.width, header.height, content)
        seen = decode_frame(frame)
        height, width = seen.shape[:2]
        image = painted(seen, polygons) if polygons else seen
        # The camera's own image is measured: the edges of a mask would pass for sharp ones.
        content = partial(encode_jpeg, image, self._settings.jpeg_quality)
        return self._judged(frame, lambda: _grey(seen), width, height, content)

    def _judged(
        self,
        frame: Frame,
        grey: Callable[[], NDArray[np.uint8]],
        width: int,
        height: int,
        content: Callable[[], bytes],
    ) -> ProcessedFrame:
        """Return the sample of an image that is good enough, else the verdict.

        Args:
            frame: The frame.
            grey: Returns the image, or a smaller one, in grey: uint8 (H, W).
            width: Pixels in a row of the image that is stored.
            height: Its rows.
            content: Returns the JPEG file.
        """
        fingerprint = 0
        if self._is_measured:
            quality = measure_quality(grey())
            if verdict := self._fault(quality):
                return ProcessedFrame(None, verdict=verdict)
            fingerprint = quality.fingerprint
        sample = NewSample(
            "",
            frame.topic,
            frame.stamp_ns,
            content(),
            width,
            height,
            published_ns=frame.published_ns,
            frame_digest=frame_digest(frame.data),
        )
        return ProcessedFrame(sample, fingerprint)

    def _fault(self, quality: ImageQuality) -> Verdict | None:
        """Return why an image is not worth keeping, None where it is."""
        if quality.brightness < self._settings.min_brightness:
            return Verdict.DARK
        if quality.brightness > self._settings.max_brightness:
            return Verdict.BRIGHT
        if quality.sharpness < self._settings.min_sharpness:
            return Verdict.BLURRED
        return None


def _grey(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
