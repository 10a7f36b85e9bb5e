"""Enrolled robots at the gate of a real SuperLink, with Flower's own client."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from fleet_keys import enrol, serving_gate
from flwr.proto.fleet_pb2 import ActivateNodeRequest, ActivateNodeResponse, PullMessagesRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from fl_robot_ros.cloud import admission
from fl_robot_ros.cloud.gate import Gate
from fl_robot_ros.cloud.superlink import SuperLink
from fl_robot_ros.errors import ServerUnreachableError
from fl_robot_ros.identity.enrolment import PROCESS_HEADER, Enrolment
from fl_robot_ros.identity.key_folder import KeyFolder
from fl_robot_ros.worker.first_contact import introduce
from fl_robot_ros.worker.robot_key import robot_key

INTERVAL_SEC = 30.0
DEADLINE_SEC = 60.0


class Robot:
    """A robot's process: its connections end with `close`, as the kernel ends a killed one's."""

    def __init__(self, gate: Gate, enrolment: Enrolment, process: str = "") -> None:
        key = robot_key(enrolment)
        self.public_key = public_key_to_bytes(key.public_key())
        self.client = FleetHttpClient.from_server_address(
            f"127.0.0.1:{gate.port}",
            False,
            enrolment.ca_certificate.encode(),
            [NodeAuthHttpInterceptor(key, key.public_key())],
        )
        if process:
            self.client._client.headers[PROCESS_HEADER] = process

    def activate(self, public_key: bytes | None = None) -> int:
        """Activate the robot's node; return its number."""
        request = ActivateNodeRequest(
            public_key=public_key or self.public_key, heartbeat_interval=INTERVAL_SEC
        )
        reply: ActivateNodeResponse = self.client.ActivateNode(request)
        return int(reply.node_id)

    def poll(self, node_id: int) -> None:
        """Ask for a message."""
        self.client.PullMessages(PullMessagesRequest(node=Node(node_id=node_id)))

    def close(self) -> None:
        """End the process."""
        self.client.close()


@pytest.fixture(scope="module")
def superlink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SuperLink]:
    with SuperLink(tmp_path_factory.mktemp("state")) as started:
        yield started


@pytest.fixture
def keys(tmp_path: Path) -> KeyFolder:
    return KeyFolder.create(tmp_path / "keys", ["127.0.0.1"])


@pytest.fixture
def lines() -> list[str]:
    """What the operator reads."""
    return []


@pytest.fixture
def gate(superlink: SuperLink, keys: KeyFolder, lines: list[str]) -> Iterator[Gate]:
    with serving_gate(superlink.port, keys.server_file, keys.robots_file, lines.append) as opened:
        yield opened


@pytest.fixture
def started() -> Iterator[ExitStack]:
    """Takes the robots of a test, to close them."""
    with ExitStack() as stack:
        yield stack


def start(stack: ExitStack, gate: Gate, enrolment: Enrolment, process: str = "") -> Robot:
    robot = Robot(gate, enrolment, process)
    stack.callback(robot.close)
    return robot


def refusal(error: pytest.ExceptionInfo[httpx.HTTPStatusError]) -> tuple[int, str]:
    """Return status and reason of a refusal."""
    values: dict[str, Any] = json.loads(error.value.response.text)
    return error.value.response.status_code, str(values["detail"])


def test_a_killed_robot_is_in_again_at_once_and_has_the_same_node(
    gate: Gate, keys: KeyFolder, lines: list[str], started: ExitStack
) -> None:
    enrolment = enrol(keys, "r1")
    killed = start(started, gate, enrolment)
    node_id = killed.activate()
    killed.poll(node_id)
    killed.close()
    # Flower would not activate it within two heartbeats: for the SuperLink it is still there.
    again = start(started, gate, enrolment)
    introduce(f"127.0.0.1:{gate.port}", enrolment.ca_certificate, enrolment, DEADLINE_SEC)
    assert again.activate() == node_id
    again.poll(node_id)
    assert lines == []


def test_a_second_robot_with_the_same_enrolment_is_refused_and_the_first_goes_on(
    gate: Gate,
    keys: KeyFolder,
    lines: list[str],
    started: ExitStack,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    enrolment = enrol(keys, "r1")
    first = start(started, gate, enrolment)
    node_id = first.activate()
    second = start(started, gate, enrolment)
    for _ in range(2):
        with pytest.raises(httpx.HTTPStatusError) as caught:
            second.activate()
    status, reason = refusal(caught)
    assert status == 409
    assert reason.startswith("a robot with the enrolment of r1 is connected already, heard of")
    with pytest.raises(ServerUnreachableError, match="the enrolment of r1 is connected already"):
        introduce(f"127.0.0.1:{gate.port}", enrolment.ca_certificate, enrolment, 0.0)
    first.poll(node_id)
    assert first.activate() == node_id  # a robot may do so again over its own connection
    assert [line.startswith("refused r1 at 127.0.0.1: a robot with") for line in lines] == [True]
    # The first one's power is cut: its connection stays open, and nothing comes over it.
    monkeypatch.setattr(admission, "_ALIVE_SEC", -1.0)
    assert second.activate() == node_id


def test_a_robot_that_was_replaced_does_not_come_back_beside_the_other(
    gate: Gate,
    keys: KeyFolder,
    lines: list[str],
    started: ExitStack,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    enrolment = enrol(keys, "r1")
    first = start(started, gate, enrolment, "one")
    node_id = first.activate()
    # The same process over another connection, while the first is open.
    assert start(started, gate, enrolment, "one").activate() == node_id
    second = start(started, gate, enrolment, "two")
    with pytest.raises(httpx.HTTPStatusError):
        second.activate()
    monkeypatch.setattr(admission, "_ALIVE_SEC", -1.0)
    assert second.activate() == node_id
    with pytest.raises(httpx.HTTPStatusError) as caught:
        first.poll(node_id)
    assert refusal(caught)[0] == 409
    assert "another robot with the enrolment of r1 took its place" in lines[-1]
    second.poll(node_id)


def test_a_revoked_robot_is_shut_out_of_a_server_that_runs(
    gate: Gate, keys: KeyFolder, lines: list[str], started: ExitStack
) -> None:
    enrolment = enrol(keys, "r1")
    robot = start(started, gate, enrolment)
    node_id = robot.activate()
    robot.poll(node_id)
    keys.revoke("r1")

    with pytest.raises(httpx.HTTPStatusError) as caught:
        robot.poll(node_id)
    assert refusal(caught)[0] == 401
    assert lines[0].startswith("refused r1: robot r1 was revoked at")
    # Enrolled anew, it is another robot of the same name.
    renewed = start(started, gate, keys.enrol("r1", keys.path.parent / "new.json", ""))
    assert renewed.activate() != node_id


def test_nobody_speaks_for_another_robot(
    gate: Gate, keys: KeyFolder, lines: list[str], started: ExitStack
) -> None:
    first, second = (start(started, gate, enrol(keys, name)) for name in ("r1", "r2"))
    node_ids = [robot.activate() for robot in (first, second)]
    assert len(set(node_ids)) == 2
    with pytest.raises(httpx.HTTPStatusError) as caught:
        second.poll(node_ids[0])
    assert caught.value.response.status_code == 401
    with pytest.raises(httpx.HTTPStatusError) as caught:
        second.activate(first.public_key)
    assert caught.value.response.status_code == 401


def test_a_public_key_without_the_private_one_is_refused(
    gate: Gate, keys: KeyFolder, lines: list[str], started: ExitStack
) -> None:
    owner, thief = (start(started, gate, enrol(keys, name)) for name in ("r1", "r2"))
    [auth] = thief.client._interceptors
    assert isinstance(auth, NodeAuthHttpInterceptor)
    auth._public_key_bytes = owner.public_key
    with pytest.raises(httpx.HTTPStatusError) as caught:
        thief.activate(owner.public_key)
    assert refusal(caught)[1].startswith("its signature is false")
    assert any(line.startswith("refused r1: its signature is false") for line in lines)


def test_a_damaged_list_of_robots_does_not_let_anybody_in_or_out(
    gate: Gate, keys: KeyFolder, lines: list[str], started: ExitStack
) -> None:
    robot = start(started, gate, enrol(keys, "r1"))
    node_id = robot.activate()
    keys.robots_file.write_text("[")
    robot.poll(node_id)
    assert len(lines) == 1
    assert "the old one holds" in lines[0]


def test_headers_that_are_none_are_refused(gate: Gate, keys: KeyFolder, lines: list[str]) -> None:
    tls = ssl.create_default_context(cadata=keys.authority().public_bytes(Encoding.PEM).decode())
    for headers in (
        {},
        {"flwr-public-key": "?"},
        {"flwr-public-key": "AAAA", "flwr-timestamp": "now"},
        {"flwr-public-key": base64.b64encode(enrolled_key(keys)).decode()},
    ):
        reply = httpx.post(
            f"https://127.0.0.1:{gate.port}/v1/fleet/get-run", headers=headers, verify=tls
        )
        assert reply.status_code == 401
        assert reply.json()["code"] == 401
    assert len(lines) == 4


def enrolled_key(keys: KeyFolder) -> bytes:
    """Return the public key of a robot that is enrolled."""
    enrol(keys, "r1")
    [robot] = keys.robots().robots
    return robot.public_key.encode()
