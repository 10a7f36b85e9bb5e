"""Small images for the tests of the dataset room."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.capture.new_sample import NewSample
from fl_robot_ros.dataset.dataset import Dataset

START_NS = 1_714_564_800_000_000_000  # 2024-05-01T12:00:00Z


def pixels(seed: int, height: int = 12, width: int = 16) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)


def encoded(seed: int, suffix: str = ".jpg") -> bytes:
    return bytes(cv2.imencode(suffix, pixels(seed))[1])


def new(number: int, label: str = "cat", topic: str = "/camera") -> NewSample:
    """Return a sample captured `number` seconds after the start."""
    stamp_ns = START_NS + number * 1_000_000_000
    return NewSample(label, topic, stamp_ns, encoded(number), 16, 12)


def filled(path: Path, *labels: str) -> Path:
    """Make a dataset with one sample a second of these labels; return its folder."""
    with Dataset(path) as dataset:
        dataset.add([new(number, label) for number, label in enumerate(labels)])
    return path


def content(path: Path) -> set[tuple[str, str, int, bytes]]:
    """Return label, topic, stamp and file of all samples."""
    with Dataset(path) as dataset:
        return {
            (item.label, item.topic, item.stamp_ns, (dataset.path / item.path).read_bytes())
            for item in dataset.samples() + dataset.unlabelled()
        }
