"""The nodes under ROS' own defaults, on one host and on two, for peers that set nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import plain_peer
import pytest
from network import TwoHosts, as_by_default
from ros_process import NodeProcess


@pytest.fixture(scope="module")
def hosts() -> Iterator[TwoHosts]:
    try:
        made = TwoHosts()
    except PermissionError as error:
        pytest.skip(str(error))
    yield made
    made.close()


def run_peer(hosts: TwoHosts, host: int, task: str, env: dict[str, str]) -> dict[str, Any]:
    """Run the plain peer on a host; return what it saw."""
    command = hosts.command(host, [sys.executable, plain_peer.__file__, task])
    done = subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_a_client_is_found_called_and_fed(
    hosts: TwoHosts, ros_env: dict[str, str], tmp_path: Path
) -> None:
    env = as_by_default(ros_env)
    parameters = {"data_dir": tmp_path / "robot", "queue_size": 1000}
    client = NodeProcess(
        "fl_robot_ros.nodes.client",
        parameters,
        tmp_path / "client.log",
        env,
        prefix=hosts.command(0, []),
    )
    try:
        for host in (0, 1):
            seen = run_peer(hosts, host, "client", env)
            assert "fl_client" in seen["nodes"], f"host {host}: {seen}"
            assert seen["reply"] == "capturing", f"host {host}: {seen}"
            assert seen["status"] == "idle", f"host {host}: {seen}"
            assert seen["arrived"] == plain_peer.FRAMES, f"host {host}: {seen}"
        assert client.interrupt() == 0
    finally:
        client.close()


def test_large_images_of_the_streamer_reach_a_best_effort_subscriber(
    hosts: TwoHosts, ros_env: dict[str, str], tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (1080, 1920, 3), dtype=np.uint8)
    for number in range(20):
        cv2.imwrite(str(photos / f"{number:02}.jpg"), noise)
    env = as_by_default(ros_env)
    streamer = NodeProcess(
        "fl_robot_ros.nodes.streamer",
        {"source": photos, "rate_hz": 15.0, "wait_for_subscriber_sec": 60.0},
        tmp_path / "streamer.log",
        env,
        prefix=hosts.command(0, []),
    )
    try:
        seen = run_peer(hosts, 0, "streamer", env)
        # Of so large frames hardly one in ten arrives over the default transports.
        assert seen["frames"] >= 17, f"{seen}\n{streamer.output}"
        assert streamer.wait() == 0
    finally:
        streamer.close()
