"""Files that appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from fl_robot_ros.atomic_file import staging_file


def test_a_file_is_replaced_as_a_whole_or_stays(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    with staging_file(path) as staging:
        staging.write_text("first")
        assert not path.exists()
    with pytest.raises(TypeError), staging_file(path) as staging:
        staging.write_text(b"no text")  # type: ignore[arg-type]
    assert path.read_text() == "first"
    # As a process leaves it that is killed.
    staging.write_text("hal")
    with staging_file(path) as staging:
        staging.write_text("second")
    assert [(item.name, item.read_text()) for item in tmp_path.iterdir()] == [
        ("file.txt", "second")
    ]
