"""What a robot does when the server refuses a reply, knows it no longer, or is gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from flower_identity import take_identity
from flwr.app import Message, RecordDict
from flwr.proto.fleet_pb2 import PushMessagesResponse
from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree

from fl_robot_ros.errors import ProtocolError, RequestRefusedError, ServerUnreachableError
from fl_robot_ros.federation import protocol
from fl_robot_ros.worker.fleet_connection import FleetConnection, error_reply

take_identity()


def request() -> Message:
    message = Message(RecordDict(), dst_node_id=1, message_type="train")
    message.metadata.__dict__["_message_id"] = "request"
    return message


def trained() -> Message:
    return protocol.reply(request(), {"num-examples": 3}, np.ones(4, np.float32))


class Server:
    """Replies to requests as a SuperLink does, with faults; a double of `FleetClient`."""

    public_key = b"key"
    server_address = "127.0.0.1:1"

    def __init__(self) -> None:
        self.refusals = 0  # announcements whose objects are refused
        self.is_gone = False
        self.knows: set[int] = set()
        self.num_nodes = 0
        self.announced: list[set[str]] = []
        self.taken: dict[str, bytes] = {}
        self.messages: list[Message] = []
        self.is_wanted = True
        self.keeps_refused = False
        self.paths: list[str] = []
        self.before: Callable[[str], None] = lambda _: None

    def restart(self) -> None:
        """Forget everything."""
        self.knows.clear()
        self.taken.clear()
        self.messages.clear()
        self.is_wanted = False

    def call(self, path: str, request: Any, response: Any, within_sec: float | None = None) -> Any:
        self.paths.append(path)
        self.before(path)
        if self.is_gone:
            raise ServerUnreachableError("lost the server: Connection refused")
        node = getattr(request, "node", None)
        if node is not None and node.node_id not in self.knows:
            raise RequestRefusedError("Invalid node ID", 401)
        if path == "activate-node":
            self.num_nodes += 1
            self.knows.add(self.num_nodes)
            response.node_id = self.num_nodes
        elif path == "send-node-heartbeat":
            response.success = True
        elif path == "pull-messages" and self.messages:
            message = self.messages.pop(0)
            self.taken = {k: v.deflate() for k, v in get_all_nested_objects(message).items()}
            response.message_object_trees.append(get_object_tree(message))
            response.messages_list.add().metadata.run_id = 1
        elif path == "pull-object":
            response.object_found = response.object_available = request.object_id in self.taken
            response.object_content = self.taken.get(request.object_id, b"")
        elif path == "push-messages" and self.is_wanted:
            return self._announce(request.message_object_trees[0])
        elif path == "push-object":
            response.stored = len(self.announced) > self.refusals
            if self.keeps_refused:
                self.taken[request.object_id] = request.object_content
            if response.stored:
                assert request.session_id == f"session {len(self.announced)}"
                self.taken[request.object_id] = request.object_content
        return response

    def _announce(self, tree: ObjectTree) -> PushMessagesResponse:
        wanted = {tree.object_id, *(child.object_id for child in tree.children)} - set(self.taken)
        self.announced.append(wanted)
        return PushMessagesResponse(
            objects_to_push=wanted, session_id=f"session {len(self.announced)}"
        )


_open: list[FleetConnection] = []


def connection(server: Server) -> FleetConnection:
    _open.append(FleetConnection(server, registers_itself=True, server_timeout_sec=60.0))  # type: ignore[arg-type]
    return _open[-1]


@pytest.fixture(autouse=True)
def _no_heartbeats_after_a_test() -> Iterator[None]:
    yield
    while _open:
        link = _open.pop()
        link._client.before = lambda path: None
        link.close()


def test_a_refused_reply_is_announced_and_sent_again() -> None:
    server = Server()
    server.refusals = 2
    assert connection(server).send(trained(), 1.0) == ""
    assert len(server.announced) == 3
    assert set(server.taken) == server.announced[-1]
    assert len(server.taken) > 1


def test_a_reply_that_is_always_refused_is_dropped_and_the_robot_stays() -> None:
    server = Server()
    server.refusals = 100
    link = connection(server)
    assert link.send(trained(), 1.0) == "the server refused its parts 3 times"
    assert len(server.announced) == 3
    assert link.receive() is None


def test_a_reply_that_nobody_wants_is_dropped_and_the_robot_stays() -> None:
    server = Server()
    server.is_wanted = False
    link = connection(server)
    assert link.send(trained(), 1.0) == "the server does not want it any more"
    assert link.receive() is None


def test_a_part_that_arrived_though_its_receipt_was_lost_is_not_sent_again() -> None:
    server = Server()
    server.refusals, server.keeps_refused = 100, True
    reply = trained()
    assert connection(server).send(reply, 1.0) == ""
    assert len(server.announced) == 1
    assert reply.metadata.message_id in server.taken


@pytest.mark.parametrize("is_held", [True, False])
def test_a_reply_in_parts_that_is_not_wanted_again_was_read_or_is_dropped(is_held: bool) -> None:
    server = Server()
    server.refusals = 1
    reply = trained()

    def close_session(path: str) -> None:
        if path == "push-object":
            server.is_wanted = False
        elif path == "push-messages" and server.announced and is_held:
            server.taken[reply.metadata.message_id] = b""

    server.before = close_session
    problem = connection(server).send(reply, 1.0)
    assert problem == ("the server does not want it any more" if is_held else "")


def test_a_server_that_is_gone_ends_the_sending() -> None:
    server = Server()
    link = connection(server)
    server.is_gone = True
    with pytest.raises(ServerUnreachableError, match="Connection refused"):
        link.send(trained(), 1.0)


@pytest.mark.parametrize("moment", ["pull-messages", "push-messages", "push-object"])
def test_a_robot_registers_anew_after_a_restart_and_goes_on(moment: str) -> None:
    server = Server()
    link = connection(server)
    assert link.node_id == 1

    def restart(path: str) -> None:
        if path == moment and server.num_nodes == 1:
            server.restart()

    server.before = restart
    if moment == "pull-messages":
        assert link.receive() is None
    else:
        assert link.send(trained(), 1.0) == "the server was restarted meanwhile"
    assert link.node_id == 2
    server.messages.append(request())
    assert link.receive() is not None


def test_a_robot_that_is_not_let_in_again_says_why() -> None:
    server = Server()
    link = connection(server)
    server.restart()

    def revoke(path: str) -> None:
        if path == "activate-node":
            raise RequestRefusedError("HTTP 403: robot r1 is revoked", 403)

    server.before = revoke
    with pytest.raises(ServerUnreachableError, match="cannot take part: HTTP 403: robot r1 is"):
        link.receive()


def test_a_request_that_is_withdrawn_is_left_out() -> None:
    server = Server()
    link = connection(server)
    server.messages.append(request())

    def withdraw(path: str) -> None:
        if path == "pull-object":
            server.taken.clear()

    server.before = withdraw
    assert link.receive() is None


@pytest.mark.parametrize("content", [b"", b"Message  9\0{}", b"\xff", b"Array,x,3\0abc"])
def test_a_message_that_cannot_be_read_is_told(content: bytes) -> None:
    server = Server()
    link = connection(server)
    server.messages.append(request())

    def garble(path: str) -> None:
        if path == "pull-object":
            server.taken = dict.fromkeys(server.taken, content)

    server.before = garble
    with pytest.raises(ProtocolError, match="the server's message cannot be read"):
        link.receive()


def test_who_leaves_tells_why_and_signs_off() -> None:
    server = Server()
    link = connection(server)
    server.messages.append(request())
    received = link.receive()
    assert received is not None
    reply = error_reply(received, "no\x1b[2J\nmemory")
    assert reply.error.reason == "no [2J memory"

    def read(path: str) -> None:
        if path == "pull-object":
            server.taken.clear()

    server.before = read
    link.leave("no memory", 60.0)
    assert server.paths[-2:] == ["deactivate-node", "unregister-node"]
    assert len(server.announced) == 1
    link.leave("no memory", 60.0)
    assert server.paths.count("deactivate-node") == 1


def test_who_has_no_request_leaves_at_once() -> None:
    server = Server()
    link = connection(server)
    server.messages.append(request())
    received = link.receive()
    assert received is not None
    link.send(protocol.reply(received, {"num-examples": 3}), 1.0)
    server.is_gone = True
    link.leave("the robot left the run", 60.0)
    assert len(server.announced) == 1
