"""What capture hands to the dataset: labelled pictures, and the door they go through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class NewSample:
    """A labelled picture on its way into the dataset.

    Attributes:
        label: What it shows, as `capture.labels.clean_label` returns it; not empty.
        topic: Name of the camera's topic.
        stamp_ns: Capture time in ns, within 64 bits; with the topic it names the sample.
        image_bytes: A JPEG file.
        width: Pixels in a row.
        height: Rows of pixels.
    """

    label: str
    topic: str
    stamp_ns: int
    image_bytes: bytes
    width: int
    height: int


class DatasetWriter(Protocol):
    """The part of a dataset that capture needs."""

    def add(self, batch: Sequence[NewSample]) -> list[bool]:
        """Store samples; return for each whether it is new.

        Raises:
            DatasetError: Nothing of the batch was stored.
        """
        ...
