"""The real launch files start the real nodes, hand their arguments on, and end cleanly."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

# Not launch: the checkout has a folder of that name, which Python would take for it.
pytest.importorskip("launch_ros.actions", reason="needs launch and launch_ros: ROS 2")

import plain_peer
from launch_process import Launch
from network import TwoHosts, as_by_default
from rcl_interfaces.srv import GetParameters
from ros_process import Peer
from std_srvs.srv import Trigger
from waiting import wait_until

StartLaunch = Callable[..., Launch]

TRANSPORTS = "FASTDDS_BUILTIN_TRANSPORTS"


def write_params(path: Path, **parameters: object) -> Path:
    path.write_text(yaml.safe_dump({"/**": {"ros__parameters": parameters}}))
    return path


def call_start_round(peer: Peer, service: str) -> Any:
    """Call the service as soon as it is there; return its response."""
    client = peer.node.create_client(Trigger, service)
    wait_until(client.service_is_ready, f"no service {service}")
    future = client.call_async(Trigger.Request())
    wait_until(future.done, f"no answer from {service}")
    return future.result()


def node_environments(launch: Launch, count: int) -> list[dict[str, str]]:
    """Return the environments of the nodes, once so many have been started."""
    wait_until(lambda: len(launch.node_pids) == count, f"{count} nodes in {launch.output}")
    texts = [Path(f"/proc/{pid}/environ").read_text() for pid in launch.node_pids]
    pairs = [[line.split("=", 1) for line in text.split("\0") if "=" in line] for text in texts]
    return [dict(items) for items in pairs]


def assert_ended_cleanly(launch: Launch, count: int) -> None:
    assert launch.output.count("process has finished cleanly") == count, launch.output
    assert "Traceback" not in launch.output
    assert not any(Path(f"/proc/{pid}").exists() for pid in launch.node_pids)


def test_client_without_a_file_runs_on_the_defaults(
    start_launch: StartLaunch, peer: Peer, tmp_path: Path
) -> None:
    launch = start_launch("client.launch.py")
    response = call_start_round(peer, "/fl/start_round")
    assert not response.success
    assert response.message == "0 labelled images; min_samples asks for at least 20"
    assert (tmp_path / ".ros" / "fl_robot_ros" / "dataset").is_dir()
    [environment] = node_environments(launch, 1)
    # With LARGE_DATA, a peer with default transports would not see the node.
    assert TRANSPORTS not in environment
    [pid] = launch.node_pids
    command = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    assert "--params-file" not in command
    assert launch.interrupt() == 0
    assert_ended_cleanly(launch, 1)


def test_a_launched_client_is_found_called_and_fed_by_plain_peers(
    start_launch: StartLaunch, ros_env: dict[str, str]
) -> None:
    try:
        hosts = TwoHosts()
    except PermissionError as error:
        pytest.skip(str(error))
    env = as_by_default(ros_env)
    peers = [
        hosts.command(host, [sys.executable, plain_peer.__file__, "client"]) for host in (0, 1)
    ]
    try:
        launch = start_launch("client.launch.py", prefix=hosts.command(0, []), env=env)
        for command in peers:
            done = subprocess.run(
                command, env=env, capture_output=True, text=True, timeout=240, check=False
            )
            assert done.returncode == 0, done.stderr
            seen = json.loads(done.stdout.splitlines()[-1])
            assert "fl_client" in seen["nodes"], seen
            assert (seen["reply"], seen["status"]) == ("capturing", "idle")
            assert seen["arrived"] == plain_peer.FRAMES
        assert launch.interrupt() == 0
    finally:
        hosts.close()


def test_nodes_end_when_launch_is_killed(start_launch: StartLaunch) -> None:
    launch = start_launch("robot.launch.py")
    node_environments(launch, 2)
    wait_until(lambda: "waiting for a model" in launch.output, launch.output)
    launch.process.kill()
    wait_until(
        lambda: not any(Path(f"/proc/{pid}").exists() for pid in launch.node_pids),
        "the nodes end",
    )


def test_two_robots_in_one_launch_need_no_file(
    start_launch: StartLaunch, peer: Peer, tmp_path: Path
) -> None:
    file = tmp_path / "fleet.launch.py"
    file.write_text(_FLEET)
    # The file's own arguments are its own business.
    launch = start_launch(file, carrot="orange")
    for name in ("robot1", "robot2"):
        # What the user's own launch file sets holds.
        response = call_start_round(peer, f"/{name}/fl/start_round")
        assert response.message.endswith("min_samples asks for at least 7")
        assert (tmp_path / ".ros" / "fl_robot_ros" / name / "dataset").is_dir()
    assert launch.interrupt() == 0
    assert_ended_cleanly(launch, 2)


_FLEET = """
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription
from launch.substitutions import PathJoinSubstitution
from launch_ros.actions import SetParameter
from launch_ros.substitutions import FindPackageShare

def generate_launch_description():
    file = PathJoinSubstitution([FindPackageShare("fl_robot_ros"), "launch", "client.launch.py"])
    return LaunchDescription(
        [DeclareLaunchArgument("carrot"), SetParameter("min_samples", 7)]
        + [
            IncludeLaunchDescription(file, launch_arguments={"namespace": name}.items())
            for name in ("robot1", "robot2")
        ]
    )
"""


@pytest.mark.parametrize("file", ["client.launch.py", "robot.launch.py"])
def test_an_unknown_argument_or_a_missing_file_ends_the_launch(
    start_launch: StartLaunch, tmp_path: Path, file: str
) -> None:
    launch = start_launch(file, param_file=tmp_path / "c.yaml")
    assert launch.wait() != 0
    assert f"{file} has no argument 'param_file'; it takes params_file" in launch.output
    missing = start_launch(file, params_file=tmp_path / "missing.yaml")
    assert missing.wait() != 0
    assert f"there is no parameter file {tmp_path / 'missing.yaml'}" in missing.output
    assert launch.node_pids + missing.node_pids == []


def test_a_file_for_another_namespace_ends_the_node(
    start_launch: StartLaunch, tmp_path: Path
) -> None:
    params = tmp_path / "dumped.yaml"
    params.write_text(yaml.safe_dump({"/fl_client": {"ros__parameters": {"min_samples": 7}}}))
    launch = start_launch(
        "client.launch.py", namespace="robot1", params_file=params, use_sim_time="true"
    )
    launch.wait()
    assert f"{params} has nothing for /robot1/fl_client" in launch.output
    assert "exit code 2" in launch.output


def test_one_file_and_simulated_time_reach_both_nodes(
    start_launch: StartLaunch, peer: Peer, tmp_path: Path
) -> None:
    params = tmp_path / "robot.yaml"
    sections = {"fl_client": {"min_samples": 9}, "fl_perception": {"image_topics": ["front"]}}
    content = {f"/**/{node}": {"ros__parameters": values} for node, values in sections.items()}
    params.write_text(yaml.safe_dump(content))
    launch = start_launch(
        "robot.launch.py", namespace="r", params_file=params, use_sim_time="True"
    )
    response = call_start_round(peer, "/r/fl/start_round")
    assert response.message.endswith("min_samples asks for at least 9")
    for node in ("fl_client", "fl_perception"):
        client = peer.node.create_client(GetParameters, f"/r/{node}/get_parameters")
        wait_until(client.service_is_ready, node)
        future = client.call_async(GetParameters.Request(names=["use_sim_time"]))
        wait_until(future.done, node)
        assert future.result().values[0].bool_value
    assert launch.interrupt() == 0


def test_robot_puts_both_nodes_with_their_own_parameters_under_one_namespace(
    start_launch: StartLaunch, peer: Peer, tmp_path: Path
) -> None:
    client = write_params(tmp_path / "c.yaml", data_dir=str(tmp_path / "data"), min_samples=7)
    perception = write_params(tmp_path / "p.yaml", image_topics=["front/image"])
    launch = start_launch(
        "robot.launch.py",
        namespace="robot1",
        client_params_file=client,
        perception_params_file=perception,
    )
    response = call_start_round(peer, "/robot1/fl/start_round")
    assert response.message == "0 labelled images; min_samples asks for at least 7"
    assert (tmp_path / "data" / "dataset").is_dir()
    wait_until(
        lambda: (
            {("fl_client", "/robot1"), ("fl_perception", "/robot1")}
            <= set(peer.node.get_node_names_and_namespaces())
        ),
        "not both nodes in the namespace",
    )
    wait_until(
        lambda: peer.node.count_publishers("/robot1/fl/perception/label") == 1,
        "no fl_perception in the namespace",
    )
    assert "robot robot1: 0 images" in launch.output
    assert launch.interrupt(everybody=True) == 0
    assert_ended_cleanly(launch, 2)


def test_the_log_level_reaches_the_node(
    start_launch: StartLaunch, peer: Peer, tmp_path: Path
) -> None:
    launch = start_launch("client.launch.py", log_level="WARN")
    call_start_round(peer, "/fl/start_round")
    wait_until(lambda: "start_round: 0 labelled" in launch.output, launch.output)
    assert "0 images in" not in launch.output
    assert launch.interrupt() == 0


def test_a_wrong_log_level_is_refused(start_launch: StartLaunch) -> None:
    launch = start_launch("perception.launch.py", log_level="loud")
    assert launch.wait() != 0
    assert "loud" in launch.output
    assert launch.node_pids == []


def test_a_wrong_parameter_is_named_and_ends_the_launch(
    start_launch: StartLaunch, tmp_path: Path
) -> None:
    params = write_params(tmp_path / "p.yaml", sample_rate_hz=-1.0)
    launch = start_launch("client.launch.py", params_file=params)
    launch.wait()
    assert "sample_rate_hz is -1.0; expected 0.001 to 1000 Hz" in launch.output
    assert "exit code 2" in launch.output
    assert "Traceback" not in launch.output


def test_streamer_streams_and_ends(start_launch: StartLaunch, tmp_path: Path) -> None:
    folder = tmp_path / "images" / "cat"
    folder.mkdir(parents=True)
    for number in range(3):
        image = np.full((24, 32, 3), 60 * number, np.uint8)
        assert cv2.imwrite(str(folder / f"{number}.png"), image)
    params = write_params(
        tmp_path / "s.yaml", source=str(folder.parent), wait_for_subscriber_sec=0.0
    )
    launch = start_launch("streamer.launch.py", namespace="robot2", params_file=params)
    assert launch.wait() == 0
    assert "[robot2.fl_streamer]: sent 3 frames" in launch.output
    assert_ended_cleanly(launch, 1)
