"""What the real SuperLink lets in: robots through the gate, and processes of its own user."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fl_robot_ros.cloud.gate import Gate
from fl_robot_ros.cloud.superlink import SuperLink
from fl_robot_ros.cloud.superlink_process import owner_of
from fl_robot_ros.config import ServerSettings
from fl_robot_ros.worker.fleet_connection import connect

# Of Debian and others: a user without rights.
NOBODY = 65534


@pytest.fixture(scope="module")
def superlink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SuperLink]:
    with SuperLink(tmp_path_factory.mktemp("state")) as started:
        yield started


def flwr_list(folder: Path, port: int) -> subprocess.CompletedProcess[str]:
    """Run `flwr list` as somebody does who knows no more than the address."""
    folder.mkdir()
    text = f'[superlink.other]\naddress = "127.0.0.1:{port}"\ninsecure = true\n'
    (folder / "config.toml").write_text(text)
    return subprocess.run(
        [str(Path(sys.executable).parent / "flwr"), "list", "other"],
        env={**os.environ, "FLWR_HOME": str(folder), "FLWR_DISABLE_UPDATE_CHECK": "1"},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120.0,
        check=False,
    )


def test_a_robot_gets_in_by_the_gate_and_an_operator_of_flower_does_not(
    superlink: SuperLink, tmp_path: Path
) -> None:
    settings = ServerSettings.from_mapping({"classes": ["a", "b"], "port": 0})
    with Gate(settings) as gate, gate.serving(superlink.port):
        address = f"127.0.0.1:{gate.port}"
        with connect(address, certificates="", enrolment=None, server_timeout_sec=10.0) as link:
            assert link.node_id
            assert link.receive() is None
        refused = flwr_list(tmp_path / "outside", gate.port)
    assert refused.returncode != 0, refused.stdout
    # The SuperLink itself would have replied.
    assert flwr_list(tmp_path / "inside", superlink.port).returncode == 0


def test_a_connections_owner_is_known() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with socket.create_connection(listener.getsockname()) as client:
            assert owner_of(client.getsockname(), listener.getsockname()) == os.geteuid()
            assert owner_of(("127.0.0.1", 1), listener.getsockname()) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_another_user_of_the_machine_is_not_let_in(superlink: SuperLink) -> None:
    program = (
        "import socket, sys\n"
        f"with socket.create_connection(('127.0.0.1', {superlink.port}), 60) as connection:\n"
        "    connection.sendall(b'GET /health HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')\n"
        "    print(connection.recv(12).decode())\n"
    )
    python = ["/usr/bin/env", "python3", "-c"]
    if subprocess.run([*python, ""], user=NOBODY, check=False, timeout=60.0).returncode:
        pytest.skip("needs a python3 that every user can run")
    for user, is_let_in in ((os.geteuid(), True), (NOBODY, False)):
        done = subprocess.run(
            [*python, program],
            capture_output=True,
            text=True,
            timeout=60.0,
            check=False,
            user=user,
        )
        # Closed before the request was sent, the connection ends; else it is reset.
        assert is_let_in or not done.stdout.strip()
        assert ("HTTP/1.1" in done.stdout) is is_let_in, done.stderr
        assert not done.stderr or "ConnectionReset" in done.stderr or "BrokenPipe" in done.stderr
