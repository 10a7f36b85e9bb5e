"""Checkpoints survive damage: the newest readable one is taken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fl_robot_ros.cloud.checkpoint import (
    GlobalModel,
    load_checkpoint,
    newest_checkpoint,
    save_checkpoint,
)
from fl_robot_ros.errors import ModelError
from fl_robot_ros.images.preprocessing import Preprocessing


def model(server_round: int, value: float = 0.5) -> GlobalModel:
    return GlobalModel(
        server_round=server_round,
        weights=np.full(100, value, np.float32),
        architecture='{"class_name": "Sequential"}',
        classes=("a", "b"),
        preprocessing=Preprocessing(32, 32, 3, 1 / 255),
    )


def test_round_trip(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path / "checkpoints", model(3))
    loaded = load_checkpoint(path)
    assert path.name == "round-00003.npz"
    assert loaded.server_round == 3
    assert loaded.classes == ("a", "b")
    assert loaded.preprocessing == Preprocessing(32, 32, 3, 1 / 255)
    np.testing.assert_array_equal(loaded.weights, model(3).weights)


def test_no_checkpoint(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path / "absent") == (None, [])


@pytest.mark.parametrize("keep", [0, 1, 50, 300])
def test_a_truncated_checkpoint_is_passed_over_and_named(tmp_path: Path, keep: int) -> None:
    save_checkpoint(tmp_path, model(1))
    newest = save_checkpoint(tmp_path, model(2))
    newest.write_bytes(newest.read_bytes()[:keep])
    found, complaints = newest_checkpoint(tmp_path)
    assert found is not None
    assert found.server_round == 1
    assert len(complaints) == 1
    assert "round-00002" in complaints[0]


def test_any_flipped_byte_is_noticed_or_harmless(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, model(1))
    sound = path.read_bytes()
    for position in range(0, len(sound), 97):
        damaged = bytearray(sound)
        damaged[position] ^= 0xFF
        path.write_bytes(bytes(damaged))
        try:
            loaded = load_checkpoint(path)
        except ModelError:
            continue
        np.testing.assert_array_equal(loaded.weights, model(1).weights)


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, model(1, float("nan")))
    with pytest.raises(ModelError, match="finite"):
        load_checkpoint(path)


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    path = tmp_path / "round-00001.npz"
    with path.open("wb") as file:
        np.savez(file, weights=np.array([{"a": 1}], dtype=object), description=np.array("{}"))
    with pytest.raises(ModelError):
        load_checkpoint(path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("in the way")
    with pytest.raises(ModelError, match="cannot be written"):
        save_checkpoint(place, model(1))
