"""The interface of sources, and the items that they yield."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class StreamedImage:
    """An image to publish.

    Attributes:
        image: uint8 (H, W, 3), RGB.
        label: Its label; "": none; None: the source has no labels at all.
        due_sec: When to show it, in s since the start of the source; in the past for a live one.
    """

    image: NDArray[np.uint8]
    label: str | None
    due_sec: float


@dataclass(frozen=True)
class RecordedImage:
    """A recorded image message of a bag.

    Attributes:
        topic: Name of its topic, without a leading slash.
        message: The serialized message (CDR).
        due_sec: When it was recorded, in s since the start of the bag.
    """

    topic: str
    message: bytes
    due_sec: float


@dataclass(frozen=True)
class RecordedLabel:
    """A recorded label message of a bag.

    Attributes:
        topic: Name of its topic, without a leading slash.
        label: Its text.
        due_sec: When it was recorded, in s since the start of the bag.
    """

    topic: str
    label: str
    due_sec: float


Item = StreamedImage | RecordedImage | RecordedLabel


class Source(Protocol):
    """Something to stream.

    Attributes:
        description: For people, one line.
        image_types: Message type by image topic; empty for a source of images.
        label_topics: Recorded label topics; empty for a source of images.
        is_live: Whether it sets its own pace and has no end.
        skipped: What was left out and why, one line each.
    """

    description: str
    image_types: dict[str, str]
    label_topics: tuple[str, ...]
    is_live: bool
    skipped: list[str]

    def items(self) -> Iterator[Item]:
        """Yield what to publish, from the start of the source."""
        ...

    def close(self) -> None:
        """Release the device or the files."""
        ...
