"""From a labelled frame to the JPEG file that is stored."""

from __future__ import annotations

import cv2

from fl_robot_ros.capture.decode import decode_frame, frame_bytes, is_rgb_jpeg
from fl_robot_ros.capture.frame import CompressedFrame, Frame
from fl_robot_ros.capture.new_sample import NewSample
from fl_robot_ros.errors import FrameError


def encode_frame(frame: Frame, label: str, jpeg_quality: int) -> NewSample:
    """Return the sample that a frame becomes.

    A JPEG frame of three channels is stored byte for byte, once it has been seen to decode.

    Args:
        frame: The frame.
        label: Its label, in its clean form.
        jpeg_quality: Quality of a JPEG file made here, 1 to 100.

    Raises:
        FrameError: The frame is no picture, or one too large for a JPEG file.
    """
    picture = decode_frame(frame)
    height, width = picture.shape[:2]
    if isinstance(frame, CompressedFrame) and is_rgb_jpeg(frame_bytes(frame.data)):
        image_bytes = frame_bytes(frame.data).tobytes()
    else:
        try:
            is_done, encoded = cv2.imencode(
                ".jpg",
                cv2.cvtColor(picture, cv2.COLOR_RGB2BGR),
                [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality],
            )
        except cv2.error as error:
            raise FrameError(f"an image of {width}x{height} pixels: {error}"[:300]) from error
        if not is_done:
            raise FrameError(f"an image of {width}x{height} pixels does not fit a JPEG file")
        image_bytes = encoded.tobytes()
    return NewSample(label, frame.topic, frame.stamp_ns, image_bytes, width, height)
