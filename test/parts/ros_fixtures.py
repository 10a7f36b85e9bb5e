"""Fixtures for tests over real DDS, in a ROS domain that nobody else uses."""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import rclpy
from ros_process import NodeProcess, Peer, StartNode

from fl_robot_ros.demo.ros_domain import private_ros_domain

__all__ = ["context", "peer", "ros_env", "start_node"]

with warnings.catch_warnings():
    # rclpy imports it late, and its dependency lark imports sre_parse, which is deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    importlib.import_module("rosidl_generator_py")


@pytest.fixture(scope="session")
def ros_env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Put this process into a private domain; yield the environment for child processes."""
    with pytest.MonkeyPatch.context() as patch, private_ros_domain() as variables:
        for name, value in variables.items():
            patch.setenv(name, value)
        patch.setenv("ROS_LOG_DIR", str(tmp_path_factory.mktemp("ros_log")))
        patch.setenv("PYTHONUNBUFFERED", "1")
        for name in ("ROS_LOCALHOST_ONLY", "ROS_STATIC_PEERS", "FASTDDS_BUILTIN_TRANSPORTS"):
            patch.delenv(name, raising=False)
        yield dict(os.environ)


@pytest.fixture
def start_node(ros_env: dict[str, str], tmp_path: Path) -> Iterator[StartNode]:
    """Return a function that starts `fl_robot_ros.nodes.<name>` with parameters."""
    started: list[NodeProcess] = []

    def start(name: str, ros_args: tuple[str, ...] = (), **parameters: object) -> NodeProcess:
        log = tmp_path / f"{name}-{len(started)}.log"
        module = f"fl_robot_ros.nodes.{name}"
        started.append(NodeProcess(module, parameters, log, ros_env, ros_args))
        return started[-1]

    yield start
    for node in started:
        node.close()


@pytest.fixture
def context(ros_env: dict[str, str]) -> Iterator[rclpy.Context]:
    """Yield a context of this process in the private domain."""
    context = rclpy.Context()
    rclpy.init(context=context)
    yield context
    context.try_shutdown()


@pytest.fixture
def peer(ros_env: dict[str, str]) -> Iterator[Peer]:
    """Yield a node of this process in the private domain."""
    node = Peer()
    yield node
    node.close()
