"""Fixtures of the capture room's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fl_robot_ros.dataset.store import Dataset


@pytest.fixture
def dataset(tmp_path: Path) -> Iterator[Dataset]:
    with Dataset(tmp_path / "dataset") as opened:
        yield opened
