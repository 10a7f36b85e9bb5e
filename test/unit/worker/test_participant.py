"""A participant that a stock SuperNode starts: its node configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from fl_robot_ros.errors import ProtocolError, SettingError
from fl_robot_ros.images.preprocessing import Preprocessing
from fl_robot_ros.worker.participant import Participant


def test_a_node_configuration_names_a_data_source(tmp_path: Path) -> None:
    for label in ("dark", "light"):
        (tmp_path / label).mkdir()
        for number in range(4):
            image = np.full((9, 9, 3), number, np.uint8)
            cv2.imwrite(str(tmp_path / label / f"{number}.png"), image)
    participant = Participant.from_node_config(
        {
            "dataset-source": f"folder:{tmp_path}",
            "holdout-fraction": 0.5,
            "models-dir": str(tmp_path / "models"),
            "robot": "stock",
        }
    )
    train, holdout = participant.data.load(("dark", "light"), Preprocessing(8, 8, 3, 1.0))
    assert (train.class_counts(2), holdout.class_counts(2)) == ([2, 2], [2, 2])


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        ({}, ProtocolError, "lacks 'snapshot'"),
        ({"snapshot": "x"}, ProtocolError, "lacks 'models-dir'"),
        (
            {"dataset-source": "zip:x", "models-dir": "x"},
            SettingError,
            "dataset_source is 'zip:x'",
        ),
        (
            {"dataset-source": "hub:a/b", "partition-id": 5, "models-dir": "x"},
            SettingError,
            "partition_id is 5; expected 0 to 0",
        ),
        (
            {"dataset-source": "hub:a/b", "num-partitions": "2", "models-dir": "x"},
            SettingError,
            "num_partitions is '2'; expected a whole number",
        ),
    ],
)
def test_an_unfit_node_configuration_is_told(
    config: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Participant.from_node_config(config)
