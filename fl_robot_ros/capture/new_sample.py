"""What capture hands to the dataset: labelled images, and the door they go through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

# What becomes of a sample that is handed over.
KEPT, LABELLED, ALREADY_STORED, OVER_QUOTA = "kept", "labelled", "already_stored", "over_quota"


class NewSample(NamedTuple):
    """An image on its way into the dataset.

    Attributes:
        label: What it shows, as `capture.labels.clean_label` returns it; "" where nobody has said.
        topic: Name of the camera's topic.
        stamp_ns: Capture time in ns, within 64 bits; with the topic it names the sample, unless
            another frame has both.
        image_bytes: A JPEG file.
        width: Pixels in a row.
        height: Rows of pixels.
        published_ns: When the frame was published, in ns; names it where its stamp does not. None
            for what was no frame.
        frame_digest: What `capture.frame.frame_digest` says of the frame; "" where nobody knows.
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

    def add(self, batch: Sequence[NewSample]) -> list[str]:
        """Store samples; return for each "kept", "labelled", "already_stored" or "over_quota".

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
            DatasetError: They cannot be stored.
        """
        ...
