"""A real server and light robots: what faults of robots and links do to a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fleet import free_port, light_robots, server
from light_robot import distance
from waiting import wait_until

from fl_robot_ros.cli.server import main
from fl_robot_ros.cloud.checkpoint import newest_checkpoint

TIMEOUT_SEC = 240.0


def distance_of(state: Path) -> float:
    """Return how far the newest global model is from what the light robots learn: 0 to about 1."""
    model, complaints = newest_checkpoint(state / "checkpoints")
    assert model is not None
    assert not complaints
    return distance(model.weights)


def test_a_robot_without_numbers_is_named_and_a_released_model_goes_to_all(tmp_path: Path) -> None:
    port, state = free_port(), tmp_path / "state"
    settings: dict[str, Any] = {"release": "approve", "num_rounds": 3}
    with server(state, port, **settings) as fl_server:
        with light_robots(tmp_path, port, "nan", behaviour="nan") as nan:
            wait_until(
                lambda: "waiting for robots: 1 of 2" in fl_server.text, "the robot", TIMEOUT_SEC
            )
            with light_robots(tmp_path, port, "sound", robots=2) as sound:
                assert fl_server.popen.wait(TIMEOUT_SEC) == 0, fl_server.text
                assert sound.popen.wait(60.0) == 0, sound.text
            assert nan.popen.wait(60.0) == 0, nan.text
    assert "nan0: refused: " in fl_server.text
    assert distance_of(state) < 0.5
    assert "the model of round 3 waits for its release: fl_server release 1" in fl_server.text
    assert (nan.text + sound.text).count("gets no model: no model is released") == 3

    assert main(["release", "1", "--state-dir", str(state)]) == 0
    with (
        server(state, port, num_rounds=0, release="approve", schedule=["0 2 * * *"]) as fl_server,
        light_robots(tmp_path, port, "late", robots=2) as late,
    ):
        assert late.popen.wait(TIMEOUT_SEC) == 0, late.text
        assert fl_server.popen.wait(60.0) == 0, fl_server.text
    assert "trains" not in late.text
    assert "run 2: model of round 3 delivered to late0, late1" in fl_server.text
