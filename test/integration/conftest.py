"""Fixtures for tests over real DDS, in a ROS domain that nobody else uses."""

from __future__ import annotations

import importlib
import os
import random
import socket
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: ROS 2 or PyPI's ROS wheels")

import rclpy
from ros_process import NodeProcess, Peer, StartNode

with warnings.catch_warnings():
    # rclpy imports it late, and its dependency lark imports sre_parse, which is deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    importlib.import_module("rosidl_generator_py")

# DDSI-RTPS 2.5, 9.6.2.3: ports of a domain begin here, and lie so far apart.
_PORT_BASE = 7400
_PORTS_PER_DOMAIN = 250
# Linux hands out ports from 32768 on to anybody, which domains above 101 would meet.
_DOMAINS = range(1, 102)


@pytest.fixture(scope="session")
def ros_env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Put this process into a private domain; yield the environment for child processes."""
    with pytest.MonkeyPatch.context() as patch, _claimed_domain() as (domain, _claim):
        patch.setenv("ROS_DOMAIN_ID", str(domain))
        patch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        patch.setenv("ROS_LOG_DIR", str(tmp_path_factory.mktemp("ros_log")))
        patch.setenv("PYTHONUNBUFFERED", "1")
        for name in ("ROS_LOCALHOST_ONLY", "ROS_STATIC_PEERS", "FASTDDS_BUILTIN_TRANSPORTS"):
            patch.delenv(name, raising=False)
        yield dict(os.environ)


class _claimed_domain:  # noqa: N801
    """Claims a domain among concurrent test sessions.

    DDS uses UDP only on a domain's first port, so that a session can hold the TCP port of the same
    number as a sign that the domain is taken.
    """

    def __enter__(self) -> tuple[int, socket.socket]:
        for domain in random.sample(_DOMAINS, len(_DOMAINS)):
            port = _PORT_BASE + _PORTS_PER_DOMAIN * domain
            self._claim = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            try:
                self._claim.bind(("127.0.0.1", port))
                # 10 is the offset of the first participant's unicast port.
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                    probe.bind(("0.0.0.0", port + 10))
            except OSError:
                self._claim.close()
                continue
            return domain, self._claim
        raise RuntimeError("every ROS domain from 1 to 101 is in use")

    def __exit__(self, *_: object) -> None:
        self._claim.close()


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
