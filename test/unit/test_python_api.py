"""docs/python-api.md, run as it stands, and the names that it promises."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from bag_recorder import drive, record
from stored_samples import new

from fl_robot_ros import api
from fl_robot_ros.dataset.dataset import Dataset
from fl_robot_ros.dataset.snapshot import freeze

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "python-api.md").read_text(encoding="utf-8")


@pytest.fixture
def data_dir(tmp_path: Path, write_version: Callable[..., Path]) -> Path:
    """Return a folder with all that the page's code reads."""
    (tmp_path / "models" / "current").symlink_to(write_version("v00001").name)
    cv2.imwrite(str(tmp_path / "photo.jpg"), np.full((24, 32, 3), (0, 0, 255), np.uint8))
    record(tmp_path / "drive", drive(4))
    with Dataset(tmp_path / "dataset") as dataset:
        labels = ["cat", "dog"] * 20
        dataset.add([new(number * 10**9, label) for number, label in enumerate(labels)])
        snapshot = freeze(dataset, 0.2, 1.0)
        snapshot.save(tmp_path / "snapshots" / f"{snapshot.id}.json")
    return tmp_path


def test_the_pages_code_runs_from_top_to_bottom(data_dir: Path) -> None:
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))
    code = f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=data_dir, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "v00001 ('red', 'green', 'blue')\nred " in done.stdout
    assert " cat (24, 32, 3)\n" in done.stdout
    assert "nothing was lost\n" in done.stdout
    assert re.search(
        r"^\d+ /fl/label dog\n\d+ /camera/image_raw a frame$", done.stdout, re.MULTILINE
    )
    assert "0 images wait for a label\n{'cat': 20, 'dog': 20}\n" in done.stdout


def test_the_page_names_only_what_is_there() -> None:
    for names in re.findall(r"^from fl_robot_ros\.api import (.+)$", PAGE, re.MULTILINE):
        assert {*names.split(", ")} <= {*api.__all__}


def test_every_public_name_is_there_and_documented() -> None:
    assert api.__all__ == sorted(api.__all__)
    for name in api.__all__:
        assert inspect.getdoc(getattr(api, name)), name


def test_the_api_loads_nothing_heavy() -> None:
    program = "import sys, fl_robot_ros.api\nprint(*{n.partition('.')[0] for n in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    heavy = {"rclpy", "tensorflow", "keras", "flwr", "rosbags", "matplotlib", "ai_edge_litert"}
    assert heavy & {*done.stdout.split()} == set()
