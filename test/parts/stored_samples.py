"""Small samples for the tests of the store, and whether it has them."""

from __future__ import annotations

from pathlib import Path

from fl_robot_ros.capture.new_sample import NewSample
from fl_robot_ros.dataset.dataset import Dataset


def new(number: int, label: str = "cat", topic: str = "/camera", size: int = 100) -> NewSample:
    return NewSample(label, topic, number, bytes([number % 256]) * size, 4, 3)


def images(path: Path) -> list[str]:
    return sorted(str(item.relative_to(path)) for item in path.rglob("*") if item.is_file())


def agree(dataset: Dataset) -> bool:
    """Say whether every row has its whole file and every file its row."""
    rows = {sample.path for sample in dataset.samples()}
    files = {name for name in images(dataset.path) if "/" in name}
    return rows == files and len(dataset) == len(rows)
