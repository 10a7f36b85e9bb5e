"""Fixtures of the unit tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fl_robot_ros.dataset.dataset import Dataset
from fl_robot_ros.labels.label_ranges import LabelRanges


@pytest.fixture
def dataset(tmp_path: Path) -> Iterator[Dataset]:
    with Dataset(tmp_path / "dataset") as opened:
        yield opened


@pytest.fixture
def load(tmp_path: Path) -> Callable[[str, str], LabelRanges]:
    """Return what writes a label file, given its name and its text, and reads it."""

    def load(name: str, text: str) -> LabelRanges:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8", newline="")
        return LabelRanges.load(path)

    return load
