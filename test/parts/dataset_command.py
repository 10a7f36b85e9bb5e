"""Runs `fl_dataset` in the tests' own process, on small datasets."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from bag_recorder import START_NS

from fl_robot_ros.capture.new_sample import NewSample
from fl_robot_ros.cli.dataset import main
from fl_robot_ros.dataset.dataset import Dataset


def jpeg(seed: int) -> bytes:
    image = np.random.default_rng(seed).integers(0, 255, (12, 16, 3), np.uint8)
    return bytes(cv2.imencode(".jpg", image)[1])


def filled(path: Path, *labels: str) -> Path:
    """Make a dataset with one sample a second of these labels; return its folder."""
    with Dataset(path) as dataset:
        dataset.add(
            [
                NewSample(label, "/camera", START_NS + number * 10**9, jpeg(number), 16, 12)
                for number, label in enumerate(labels)
            ]
        )
    return path


def run(command: str, dataset: Path, *arguments: str | Path) -> int:
    return main([command, "--dataset", str(dataset), *map(str, arguments)])


def counts(path: Path) -> dict[str, int]:
    """Return the number of samples by label, "" for the review pool."""
    with Dataset(path) as dataset:
        pool = {"": dataset.num_unlabelled()} if dataset.num_unlabelled() else {}
        return {**dataset.counts(), **pool}
