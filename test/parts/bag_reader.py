"""Reads bags, for tests."""

from __future__ import annotations

from pathlib import Path

from fl_robot_ros.bags.bag import BagReport, LabelMessage, open_bag
from fl_robot_ros.images.frame import Frame


def read(
    path: Path, topics: list[str] | None = None
) -> tuple[list[Frame], list[LabelMessage], BagReport]:
    """Return the frames and labels of a bag, and what the report says of them."""
    reading = open_bag(path, topics)
    items = list(reading)
    frames = [item for item in items if not isinstance(item, LabelMessage)]
    labels = [item for item in items if isinstance(item, LabelMessage)]
    assert (len(frames), len(labels)) == (reading.report.frames_read, reading.report.labels_read)
    return frames, labels, reading.report
