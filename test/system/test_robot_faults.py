"""A robot that fails, a SuperLink that forgets, a server that never replies: with real parts."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

from fleet import free_port, make_robot, process_of, server, worker
from hostile_server import hostile_server, stall
from waiting import wait_until

from fl_robot_ros.worker_link.event import Delivered, Failed
from fl_robot_ros.worker_link.job import CANCEL, PAUSE, RESUME
from fl_robot_ros.worker_link.run_status import RunState

TIMEOUT_SEC = 240.0


def test_a_failing_robot_tells_why_and_a_superlink_that_forgets_loses_no_robot(
    tmp_path: Path,
) -> None:
    port = free_port()
    state = tmp_path / "state"
    make_robot(tmp_path / "r1", ["red", "blue"], seed=1)
    make_robot(tmp_path / "r2", ["red", "green"], seed=2)
    make_robot(tmp_path / "r3", ["cow", "sheep"], seed=3)
    with server(state, port, min_nodes=3, num_rounds=2, local_epochs=30) as fl_server:
        with (
            worker(tmp_path / "r1", port) as first,
            worker(tmp_path / "r2", port) as second,
            worker(tmp_path / "r3", port) as failing,
        ):
            # A robot without an image of the run's classes leaves, and says why at both ends.
            reason = "no labelled image of the run's classes to (train|evaluate) on"
            assert failing.popen.wait(TIMEOUT_SEC) == 1
            failed = failing.events[-1]
            assert isinstance(failed, Failed)
            assert re.search(reason, failed.reason)
            wait_until(lambda: re.search(reason, fl_server.text), "the reason", TIMEOUT_SEC)
            assert "heartbeat" not in fl_server.text

            # A robot pauses. The SuperLink is killed, and starts again without its state.
            wait_until(
                lambda: "round 1/2" in fl_server.text or RunState.TRAINING in first.states,
                "training",
                TIMEOUT_SEC,
            )
            first.say(f"{PAUSE} battery 0.31, needs >= 0.4")
            wait_until(lambda: RunState.PAUSED in first.states, "the pause", TIMEOUT_SEC)
            os.kill(process_of(state, "superlink_process"), signal.SIGKILL)
            make_robot(tmp_path / "r4", ["green", "blue"], seed=4)
            with worker(tmp_path / "r4", port) as third:
                wait_until(lambda: RunState.WAITING in third.states, "r4", TIMEOUT_SEC)
                assert first.states[-1] == RunState.PAUSED
                first.say(RESUME)
                assert fl_server.popen.wait(TIMEOUT_SEC) == 0, fl_server.text
                for robot in (first, second, third):
                    assert robot.popen.wait(60.0) == 0
                    assert isinstance(robot.events[-1], Delivered)
    assert "delivered to r1, r2, r4" in fl_server.text
    for name in ("r1", "r2"):
        assert "this robot is registered anew" in (tmp_path / name / "worker.log").read_text()


def test_a_worker_that_hangs_on_its_server_can_be_cancelled(tmp_path: Path) -> None:
    make_robot(tmp_path / "r1", ["red", "blue"])
    with (
        hostile_server(stall) as port,
        worker(tmp_path / "r1", port, server_timeout_sec=3600.0) as hanging,
    ):
        wait_until(lambda: RunState.CONNECTING in hanging.states, "an event", TIMEOUT_SEC)
        hanging.say(CANCEL)
        assert hanging.popen.wait(60.0) == 3
