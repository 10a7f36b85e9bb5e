"""What a server says and does about its state before it begins a run."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fl_robot_ros.cli.server import _say
from fl_robot_ros.cloud.checkpoint import GlobalModel, save_checkpoint
from fl_robot_ros.cloud.history import HISTORY_FILE, RunStage
from fl_robot_ros.cloud.initial_model_check import check_initial_model
from fl_robot_ros.cloud.server import FleetServer
from fl_robot_ros.cloud.server_app import CHECKPOINTS
from fl_robot_ros.cloud.superlink import LOG_FILE
from fl_robot_ros.config import ServerSettings
from fl_robot_ros.errors import SettingError
from fl_robot_ros.images.preprocessing import Preprocessing


def make_server(folder: Path, said: list[str], **settings: Any) -> FleetServer:
    values = {"classes": ["a", "b"], "state_dir": str(folder), **settings}
    return FleetServer(ServerSettings.from_mapping(values), said.append, threading.Event())


def store_model(folder: Path, server_round: int) -> None:
    model = GlobalModel(
        server_round, np.zeros(4, np.float32), "{}", ("a", "b"), Preprocessing(32, 32, 3, 1 / 255)
    )
    save_checkpoint(folder / CHECKPOINTS, model)


def test_a_damaged_history_is_set_aside_and_the_checkpoints_go_on(tmp_path: Path) -> None:
    said: list[str] = []
    server = make_server(tmp_path, said)
    store_model(tmp_path, 7)
    (tmp_path / HISTORY_FILE).write_bytes(b"no database" * 500)
    with server._open_history() as history:
        record = server._begin_or_resume(history)
        assert (record.run, record.first_round, record.last_round) == (1, 8, 10)
    [line] = [line for line in said if "damaged" in line]
    assert "it is kept as history.sqlite3.damaged-" in line
    [aside] = tmp_path.glob("history.sqlite3.damaged-*")
    assert aside.read_bytes() == b"no database" * 500


def test_what_changed_since_an_interrupted_run_began_is_told(tmp_path: Path) -> None:
    said: list[str] = []
    server = make_server(tmp_path, said, learning_rate=0.01)
    store_model(tmp_path, 2)
    with server._open_history() as history:
        run = server._begin_or_resume(history).run
        history.end_run(run, RunStage.INTERRUPTED)
    said.clear()
    server = make_server(
        tmp_path, said, learning_rate=0.02, num_rounds=9, initial_model="model.keras"
    )
    with server._open_history() as history:
        record = server._begin_or_resume(history)
        assert (record.run, record.last_round) == (run, 5)
        kept = history.run(run)
        assert kept is not None
        assert kept.settings["learning_rate"] == 0.02
    assert said == [
        "the checkpoint of round 2 goes on; initial_model is for a new state_dir",
        "resuming run 1 after round 2 of 5",
        "learning_rate is 0.02 from here on, 0.01 before",
        "num_rounds does not change a run that has begun; it is for the next one",
    ]


def test_a_server_goes_on_when_nobody_reads_its_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        for _ in range(2):
            _say("round 1/3")


def test_a_model_that_cannot_be_delivered_is_refused_before_anything_starts(
    tmp_path: Path,
) -> None:
    import keras

    layers = [keras.layers.Flatten(), keras.layers.Dense(2)]
    keras.Sequential([keras.Input((12, 12, 3)), *layers]).save(tmp_path / "logits.keras")
    said: list[str] = []
    settings = {"input_height": 12, "input_width": 12, "port": 0}
    path = str(tmp_path / "logits.keras")
    server = make_server(tmp_path / "state", said, initial_model=path, **settings)
    with pytest.raises(SettingError) as caught:
        server.serve()
    assert str(caught.value).startswith(f"initial_model {path} cannot be delivered: its outputs ")
    assert "\n" not in str(caught.value)
    assert said == [f"checking that {path} can be delivered to robots"]
    assert not (tmp_path / "state" / LOG_FILE).exists()
    stopped = threading.Event()
    stopped.set()
    check_initial_model(ServerSettings(classes=("a", "b"), initial_model=path), stopped)  # Ctrl-C
