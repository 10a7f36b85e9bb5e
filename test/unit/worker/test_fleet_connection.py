"""What a robot does when the server refuses a reply, or is gone."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

import httpx
import numpy as np
import pytest
from flower_identity import take_identity
from flwr.app import Message, RecordDict
from flwr.supercore.inflatable.inflatable_utils import ObjectPushError

from fl_robot_ros.errors import ServerUnreachableError
from fl_robot_ros.federation import protocol
from fl_robot_ros.worker import fleet_connection
from fl_robot_ros.worker.fleet_connection import FleetConnection

take_identity()


def trained() -> Message:
    request = Message(RecordDict(), dst_node_id=1, message_type="train")
    request.metadata.__dict__["_message_id"] = "request"
    return protocol.reply(request, {"num-examples": 3}, np.ones(4, np.float32))


class Server:
    """Takes the objects of every announcement but the first ones."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.announcements: list[set[str]] = []
        self.taken: set[str] = set()

    def send(self, message: Message, tree: object, seconds: float) -> tuple[set[str], str]:
        wanted = {message.object_id, *(child.object_id for child in tree.children)}  # type: ignore[attr-defined]
        self.announcements.append(wanted)
        return wanted, f"session {len(self.announcements)}"

    def push_object(self, run_id: int, session: str, object_id: str, content: bytes) -> None:
        if len(self.announcements) <= self.refusals:
            raise ObjectPushError(object_id, run_id, session)
        assert session == f"session {len(self.announcements)}"
        assert content
        self.taken.add(object_id)


def connection(
    send: Callable[..., tuple[set[str], str]], push_object: Callable[..., None]
) -> FleetConnection:
    def unused(*_: object) -> None:
        raise AssertionError

    return FleetConnection("127.0.0.1:1", 1, unused, send, unused, unused, push_object, unused)


def test_a_refused_reply_is_announced_and_sent_again() -> None:
    server = Server(refusals=2)
    connection(server.send, server.push_object).send(trained(), 1.0)
    assert len(server.announcements) == 3
    assert server.taken == server.announcements[-1]
    assert len(server.taken) > 1


def test_a_reply_that_is_always_refused_is_dropped_and_the_robot_stays(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = Server(refusals=100)
    connection(server.send, server.push_object).send(trained(), 1.0)
    assert len(server.announcements) == 3
    assert "the server refused a reply 3 times; it is dropped" in caplog.text


def test_a_server_that_is_gone_ends_the_sending() -> None:
    def send(*_: object) -> tuple[set[str], str]:
        raise httpx.ConnectError("Connection refused")

    with pytest.raises(ServerUnreachableError, match=r"lost the server at .*: Connection"):
        connection(send, Server(0).push_object).send(trained(), 1.0)


def test_a_server_that_ends_while_it_is_asked_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fleet_connection, "_REPLY_SEC", 0.1)
    asked, answer = threading.Event(), threading.Event()

    def get_run(run_id: int) -> None:
        asked.set()
        answer.wait()
        raise httpx.ConnectError("Connection refused")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        link = connection(Server(0).send, Server(0).push_object)
        link.server_address = f"127.0.0.1:{listener.getsockname()[1]}"
        link._get_run = get_run
        assert link.run_ended(1)
    assert asked.is_set()
    answer.set()
    assert link.run_ended(1)  # nobody listens any more
