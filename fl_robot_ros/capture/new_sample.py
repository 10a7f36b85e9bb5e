"""NewSample, and the protocol through which capture stores it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from fl_robot_ros.capture.verdicts import Verdict


class NewSample(NamedTuple):
    """An image on its way into the dataset.

    Attributes:
        label: What it shows, as `labels.label_text.clean_label` returns it; "" for no label.
        topic: Name of the camera's topic.
        stamp_ns: Capture time in ns, within 64 bits; with the topic it names the sample, unless
            another frame has both.
        image_bytes: A JPEG file.
        width: Pixels in a row.
        height: Rows of pixels.
        published_ns: When the frame was published, in ns; names it where its stamp does not. None
            for an image that was no frame.
        frame_digest: What `images.frame.frame_digest` says of the frame; "" where nobody knows.
    """

    label: str
    topic: str
    stamp_ns: int
    image_bytes: bytes
    width: int
    height: int
    published_ns: int | None = None
    frame_digest: str = ""


class DatasetWriter(Protocol):
    """The part of a dataset that capture needs."""

    def add(self, batch: Sequence[NewSample]) -> Sequence[Verdict]:
        """Store samples; return for each KEPT, LABELLED, ALREADY_STORED or OVER_QUOTA.

        Raises:
            DatasetError: Nothing of the batch was stored.
        """
        ...

    def free_bytes(self) -> int:
        """Return the room on the disk in bytes.

        Raises:
            DatasetError: The disk is gone.
        """
        ...

    def add_verdicts(self, counts: Mapping[str, int]) -> None:
        """Add to the number of frames that ended in each verdict.

        Raises:
            DatasetError: The counts cannot be stored.
        """
        ...
