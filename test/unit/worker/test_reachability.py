"""Waiting for a server."""

from __future__ import annotations

import socket

import pytest

from fl_robot_ros.errors import ServerUnreachableError
from fl_robot_ros.worker.reachability import wait_for_listener


def closed_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def test_it_returns_when_the_server_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        wait_for_listener(f"127.0.0.1:{server.getsockname()[1]}", 60.0)


def test_a_server_that_stays_away_is_named() -> None:
    address = closed_port()
    with pytest.raises(ServerUnreachableError, match=f"no server at {address} after 0.3 s"):
        wait_for_listener(address, 0.3)
