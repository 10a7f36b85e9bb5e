"""The demonstration's whole loop, small: every part takes part, nothing is looked at twice."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from fl_robot_ros.delivery.model_store import ModelStore
from fl_robot_ros.delivery.predictor import Predictor


@pytest.mark.parametrize("scene", ["shapes"])
def test_two_robots_learn_together_from_bag_to_report(tmp_path: Path, scene: str) -> None:
    out = tmp_path / "demo"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "fl_robot_ros.cli.demo"),
            *("--scene", scene, "--out-dir", str(out), "--playback-speed", "2"),
            *("--frames", "90", "--test-frames", "60", "--rounds", "2", "--local-epochs", "2"),
        ],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert [item["round"] for item in report["rounds"]] == [1, 2]
    for item in report["rounds"]:
        assert 0.0 <= item["accuracy"] <= 1.0
        expected = item["wall_sec"] - item["robot_compute_sec"]
        assert item["overhead_sec"] == pytest.approx(expected)
    assert set(report["alone_accuracy"]) == set(report["model_paths"]) == {"robot1", "robot2"}
    # What came over DDS and what came from a bag are the same frames, none of them lost.
    assert report["images"] == {"robot1": 90, "robot2": 90}
    # The robots' model is a checkpoint of the server, up to LiteRT's rounding.
    assert any(
        report["federated_accuracy"] == pytest.approx(item["accuracy"], abs=0.03)
        for item in report["rounds"]
    )
    assert report["total_sec"] > 0
    for robot, path in report["model_paths"].items():
        version = ModelStore(out / robot / "models", 5).current()
        assert version is not None
        assert path == str(version / "model.keras")
        assert set(Predictor(path).classes) == {"circle", "square", "star", "triangle"}
    image = cv2.imread(str(out / "report.png"))
    assert image.shape[0] > 300
    assert np.unique(image.reshape(-1, 3), axis=0).shape[0] > 100
    assert "federated" in done.stdout
    # What has a path is one line, and nothing else is wider than a terminal.
    lines = done.stdout.splitlines()
    for robot, path in report["model_paths"].items():
        assert f"{robot}'s perception runs {path}" in lines
    assert f"image {out / 'report.png'}" in lines
    assert all(len(line) <= 80 for line in lines if str(out) not in line)
    assert "Held out: some of each robot's own" in done.stdout
    # Notes of TensorFlow and LiteRT are in the log, not among the demonstration's bars.
    assert not {"oneDNN", "absl", "XNNPACK"} & set(re.findall(r"\w+", done.stderr))
    assert (out / "logs" / "comparison.log").exists()
