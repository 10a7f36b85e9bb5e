"""The real launch files start the real nodes, hand their arguments on, and end cleanly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

# Not launch: the checkout has a folder of that name, which Python would take for it.
pytest.importorskip("launch_ros.actions", reason="needs launch and launch_ros: ROS 2")

from launch_process import Launch
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


def test_client_takes_the_packages_own_parameter_file(
    start_launch: StartLaunch, peer: Peer, tmp_path: Path
) -> None:
    launch = start_launch("client.launch.py")
    response = call_start_round(peer, "/fl/start_round")
    assert not response.success
    assert response.message == "0 labelled images; min_samples asks for at least 20"
    assert (tmp_path / ".ros" / "fl_robot_ros" / "dataset").is_dir()
    [environment] = node_environments(launch, 1)
    assert environment[TRANSPORTS] == "LARGE_DATA"
    assert launch.interrupt() == 0
    assert_ended_cleanly(launch, 1)


def test_the_users_choice_of_transports_stays(start_launch: StartLaunch) -> None:
    launch = start_launch("robot.launch.py", env={TRANSPORTS: "UDPv4"})
    for environment in node_environments(launch, 2):
        assert environment[TRANSPORTS] == "UDPv4"


def test_robot_puts_both_nodes_with_their_own_parameters_under_one_namespace(
    start_launch: StartLaunch, peer: Peer, tmp_path: Path
) -> None:
    client = write_params(tmp_path / "c.yaml", data_dir=str(tmp_path / "data"), min_samples=7)
    perception = write_params(tmp_path / "p.yaml", image_topic="front/image")
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
    assert [environment[TRANSPORTS] for environment in node_environments(launch, 2)] == [
        "LARGE_DATA"
    ] * 2
    assert "robot robot1: 0 images" in launch.output
    assert launch.interrupt(everybody=True) == 0
    assert_ended_cleanly(launch, 2)


def test_the_log_level_reaches_the_node(
    start_launch: StartLaunch, peer: Peer, tmp_path: Path
) -> None:
    launch = start_launch("client.launch.py", log_level="warn")
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
    folder = tmp_path / "pictures" / "cat"
    folder.mkdir(parents=True)
    for number in range(3):
        picture = np.full((24, 32, 3), 60 * number, np.uint8)
        assert cv2.imwrite(str(folder / f"{number}.png"), picture)
    params = write_params(
        tmp_path / "s.yaml", source=str(folder.parent), wait_for_subscriber_sec=0.0
    )
    launch = start_launch("streamer.launch.py", namespace="robot2", params_file=params)
    [environment] = node_environments(launch, 1)
    assert environment[TRANSPORTS] == "LARGE_DATA"
    assert launch.wait() == 0
    assert "[robot2.fl_streamer]: sent 3 frames" in launch.output
    assert_ended_cleanly(launch, 1)
