"""A stored sample, and the summary of a group of them."""

from __future__ import annotations

from typing import NamedTuple

# Begins the topic of imported images, which have no camera.
IMPORT_PREFIX = "import/"


class Sample(NamedTuple):
    """An image in the dataset.

    Attributes:
        id: Number in the order of storing, from 1; never used twice.
        label: What it shows, "" for none yet.
        topic: Name of the camera's topic.
        stamp_ns: Capture time in ns.
        path: Its JPEG file, relative to the dataset's folder, with "/" between the parts.
        sha256: SHA-256 (hex) of the file.
    """

    id: int
    label: str
    topic: str
    stamp_ns: int
    path: str
    sha256: str = ""

    @property
    def is_photo(self) -> bool:
        """Whether it is an imported image, stamped with the time of its file."""
        folder = self.topic.removeprefix(IMPORT_PREFIX)
        # An exported sample keeps its capture time; the hash of its topic follows the folder.
        return folder != self.topic and "/" not in folder


class SampleGroup(NamedTuple):
    """The samples of one label from one camera.

    Attributes:
        label: Their label, "" for none.
        topic: Name of the camera's topic.
        samples: How many there are.
        size_bytes: Size of their files.
        first_ns: Capture time of the oldest, in ns.
        last_ns: Capture time of the newest, in ns.
    """

    label: str
    topic: str
    samples: int
    size_bytes: int
    first_ns: int
    last_ns: int
