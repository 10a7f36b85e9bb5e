"""Checkpoints survive damage: the newest readable one is taken."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fl_robot_ros.cloud.checkpoint import (
    CheckpointWriter,
    GlobalModel,
    UsualLength,
    load_checkpoint,
    newest_checkpoint,
    save_checkpoint,
)
from fl_robot_ros.errors import ModelError
from fl_robot_ros.images.preprocessing import Preprocessing
from fl_robot_ros.learning.initial_model import initial_model


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


def test_the_state_of_the_aggregation_round_trips(tmp_path: Path) -> None:
    momentum = np.arange(100, dtype=np.float32)
    before = replace(model(3), momentum=momentum, usual_length=UsualLength(2.5, 0.125))
    loaded = load_checkpoint(save_checkpoint(tmp_path, before))
    np.testing.assert_array_equal(loaded.momentum, momentum)
    assert loaded.usual_length == UsualLength(2.5, 0.125)


def test_a_checkpoint_of_before_has_no_state(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, model(3))
    with np.load(path) as content:
        description = json.loads(str(content["description"]))
        del description["usual_length"]
        with path.open("wb") as file:
            np.savez(
                file, weights=content["weights"], description=np.array(json.dumps(description))
            )
    loaded = load_checkpoint(path)
    assert loaded.server_round == 3
    assert (loaded.momentum, loaded.usual_length) == (None, None)


@pytest.mark.parametrize("momentum", [np.ones(99, np.float32), np.full(100, np.nan, np.float32)])
def test_momentum_of_another_model_is_refused(tmp_path: Path, momentum: object) -> None:
    path = save_checkpoint(tmp_path, replace(model(1), momentum=momentum))
    with pytest.raises(ModelError, match="momentum"):
        load_checkpoint(path)


def test_the_newest_stay_and_numbers_of_any_length_are_in_order(tmp_path: Path) -> None:
    for server_round in (99_998, 99_999, 100_000, 100_001):
        path = save_checkpoint(tmp_path, model(server_round))
        path.with_suffix(".keras").write_bytes(b"model")
    newest, _ = newest_checkpoint(tmp_path)
    assert newest is not None
    assert newest.server_round == 100_001
    with suppress(ModelError), CheckpointWriter(tmp_path, keep=2) as writer:  # of no real model
        writer.save(model(100_002))
    left = {path.name for path in tmp_path.iterdir()} - {"round-100002.keras"}
    assert left == {"round-100001.keras", "round-100001.npz", "round-100002.npz"}


def test_no_checkpoint(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path / "absent") == (None, [])


def test_the_checkpoints_of_models_outlive_newer_ones(tmp_path: Path) -> None:
    preprocessing = Preprocessing(10, 10, 3, 1.0)
    architecture, weights = initial_model("", preprocessing, ("a", "b"), 0)
    with CheckpointWriter(tmp_path, keep=1) as writer:
        for number, kept in ((1, ()), (2, {1}), (3, {1}), (4, {1, 3}), (5, {1, 3})):
            model = GlobalModel(number, weights, architecture, ("a", "b"), preprocessing)
            writer.save(model, kept)
    assert sorted(path.name for path in tmp_path.glob("*.npz")) == [
        "round-00001.npz",
        "round-00003.npz",
        "round-00005.npz",
    ]


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


def keras_model(server_round: int) -> GlobalModel:
    preprocessing = Preprocessing(12, 12, 3, 1 / 255)
    architecture, weights = initial_model("", preprocessing, ("a", "b"), 0)
    return GlobalModel(server_round, weights, architecture, ("a", "b"), preprocessing)


def writers() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith("checkpoint")]


@pytest.mark.parametrize("fails", [False, True])
def test_the_last_keras_file_is_complete_whether_the_run_fails_or_not(
    tmp_path: Path, fails: bool
) -> None:
    with suppress(RuntimeError), CheckpointWriter(tmp_path) as writer:
        for number in (1, 2):
            writer.save(keras_model(number))
        if fails:
            raise RuntimeError("the run")
    assert writers() == []
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"round-0000{number}.{suffix}" for number in (1, 2) for suffix in ("keras", "npz")
    ]


def test_a_keras_file_that_cannot_be_written_hides_no_other_error(tmp_path: Path) -> None:
    def write(error: Exception | None) -> None:
        with CheckpointWriter(tmp_path) as writer:
            writer.save(keras_model(1))
            if error is not None:
                raise error

    (tmp_path / "round-00001.keras").mkdir()
    with pytest.raises(ModelError, match="has no Keras file"):
        write(None)
    with pytest.raises(RuntimeError, match="the run"):
        write(RuntimeError("the run"))
    assert writers() == []
