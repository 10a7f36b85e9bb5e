"""A real server and light robots: what faults of robots and links do to a run."""

from __future__ import annotations

from pathlib import Path

from fleet import free_port, light_robots, server
from light_robot import distance

from fl_robot_ros.cloud.checkpoint import newest_checkpoint
from fl_robot_ros.cloud.history import History

TIMEOUT_SEC = 240.0


def distance_of(state: Path) -> float:
    """Return how far the newest global model is from what the light robots learn: 0 to about 1."""
    model, complaints = newest_checkpoint(state / "checkpoints")
    assert model is not None
    assert not complaints
    return distance(model.weights)


def test_a_robot_that_sends_no_numbers_is_named_and_the_others_learn(tmp_path: Path) -> None:
    port, state = free_port(), tmp_path / "state"
    with (
        server(state, port, min_nodes=3, num_rounds=3) as fl_server,
        light_robots(tmp_path, port, "sound", robots=2) as sound,
        light_robots(tmp_path, port, "nan", behaviour="nan") as nan,
    ):
        assert fl_server.popen.wait(TIMEOUT_SEC) == 0, fl_server.text
        for robots in (sound, nan):
            assert robots.popen.wait(60.0) == 0, robots.text
    with History(state) as history:
        assert [record.robots for record in history.rounds()] == [2, 2, 2]
    assert "nan0: refused: " in fl_server.text
    assert "delivered to nan0, sound0, sound1" in fl_server.text
    assert distance_of(state) < 0.5
