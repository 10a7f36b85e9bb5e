"""When the demonstration goes on."""

from __future__ import annotations

import pytest

from fl_robot_ros.demo.run import is_enough


@pytest.mark.parametrize(
    ("total", "settled_sec", "enough"),
    [(1800, 0.0, True), (1790, 1.0, False), (1790, 30.0, True), (900, 30.0, False)],
)
def test_a_few_lost_frames_end_no_demonstration(
    total: int, settled_sec: float, enough: bool
) -> None:
    assert is_enough(total, 1800, settled_sec) is enough
