"""`fl_call` with a real `fl_client`."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fleet import free_port
from ros_process import StartNode
from waiting import wait_until

from fl_robot_ros.nodes.call import main, steps

Call = Callable[..., tuple[int, str]]
COMMAND = (sys.executable, "-m", "fl_robot_ros.nodes.call")


@pytest.fixture
def call(ros_env: dict[str, str]) -> Call:
    """Return a function that runs `fl_call` and returns its exit code and output."""

    def run(*arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [*COMMAND, *arguments],
            env=ros_env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout

    return run


def test_services_are_called_and_their_answers_are_the_exit_code(
    start_node: StartNode, call: Call, tmp_path: Path
) -> None:
    (tmp_path / "images" / "red").mkdir(parents=True)
    start_node(
        "client",
        ("-r", "__ns:=/robot1"),
        data_dir=tmp_path / "robot",
        dataset_source=f"folder:{tmp_path / 'images'}",
        server_address=f"127.0.0.1:{free_port()}",
        connect_timeout_sec=1.0,
    )
    robot = ("--namespace", "robot1", "--timeout", "60")
    assert call("status", *robot) == (0, "state: idle\n")
    assert call("set_capture", "off", *robot) == (0, "capture is paused\n")
    assert call("set_capture", "on", *robot) == (0, "capturing\n")
    code, output = call("rollback_model", *robot)
    assert code == 1
    assert "there is no current model" in output
    # Twice: the state that an earlier run ended in is not taken for that of this one.
    for _ in range(2):
        code, output = call("start_round", "--wait", *robot)
        first, *_, last = output.splitlines()
        assert code == 1
        assert first.startswith("run started with folder:")
        assert last.startswith("failed, no server at 127.0.0.1:")
        wait_until(lambda: call("cancel_round", *robot)[0] == 1, "the worker's end")

    def refused() -> str:
        code, output = call("status", "--timeout", "3")
        assert code == 1
        assert output.count("\n") == 1
        # A busy machine discovers the robot of the other namespace later.
        return output if "no fl_client in the namespace / in ROS domain" in output else ""

    output = wait_until(refused, "the namespace that has a robot")
    assert "there is one in /robot1, see --namespace" in output


def test_an_interrupt_ends_the_waiting_and_leaves_the_run(
    start_node: StartNode, ros_env: dict[str, str], call: Call, tmp_path: Path
) -> None:
    (tmp_path / "images" / "red").mkdir(parents=True)
    start_node(
        "client",
        data_dir=tmp_path / "robot",
        dataset_source=f"folder:{tmp_path / 'images'}",
        server_address=f"127.0.0.1:{free_port()}",
        connect_timeout_sec=600.0,
    )
    child = subprocess.Popen(
        [*COMMAND, "start_round", "--wait", "--timeout", "60"],
        env=ros_env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # A job in the background inherits that interrupts are ignored; a person's does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert child.stdout
        assert child.stdout.readline().startswith("run started with folder:")
        child.send_signal(signal.SIGINT)
        output, _ = child.communicate(timeout=60)
    finally:
        child.kill()
        child.wait()
    assert "Traceback" not in output
    assert child.returncode == 130
    assert call("status")[1].startswith("state: connecting\n")
    assert call("cancel_round") == (0, "leaving the run\n")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "start",
        "set_capture",
        "set_capture yes",
        "status on",
        "status --wait",
        "status --timeout 0",
        "status --timeout nan",
        "status --namespace a-b",
    ],
)
def test_a_wrong_command_line_is_exit_code_2(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(line.split())
    assert exit_.value.code == 2
    assert "fl_call: error: " in capsys.readouterr().err


def test_a_run_is_shown_by_its_steps() -> None:
    start = {"state": "training", "round": "2", "rounds": "3", "detail": "", "accuracy": "0.5"}
    assert list(steps({}, start)) == ["training, round 2 of 3"]
    assert list(steps(start, {**start, "epoch": "2"})) == []
    evaluating = {**start, "state": "evaluating"}
    assert list(steps(start, evaluating)) == ["evaluating, round 2 of 3"]
    waiting = {**start, "state": "waiting", "accuracy": "0.9000"}
    assert list(steps(evaluating, waiting)) == [
        "  accuracy 0.9000 on the images that this robot held out",
        "waiting, round 2 of 3",
    ]
    idle = {**waiting, "state": "idle", "round": "0", "detail": "the run was left"}
    assert list(steps(waiting, idle)) == ["idle, the run was left"]
