"""Polls and objects that the gate answers by itself; a server of the test is the SuperLink."""

from __future__ import annotations

import http.client
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from flwr.proto.fleet_pb2 import PullMessagesRequest
from flwr.proto.message_pb2 import PullObjectRequest, PullObjectResponse
from flwr.proto.node_pb2 import Node
from waiting import wait_until

from fl_robot_ros.cloud import poll_board
from fl_robot_ros.cloud.gate import Gate
from fl_robot_ros.cloud.superlink import CHANGED, STARTED
from fl_robot_ros.config import ServerSettings

POLL, OBJECT = "/v1/fleet/pull-messages", "/v1/fleet/pull-object"
ANNOUNCE, PART = "/v1/fleet/push-messages", "/v1/fleet/push-object"
ROBOTS = [PullMessagesRequest(node=Node(node_id=number)).SerializeToString() for number in (1, 2)]


class Link(ThreadingHTTPServer):
    """Has messages for robots, and objects.

    Attributes:
        asked: The bodies of all requests.
        messages: What a poll of some body gets, once.
        objects: Content of objects by name; b"" for one that is not uploaded yet.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[bytes] = []
        self.messages: dict[bytes, bytes] = {}
        self.objects: dict[str, bytes] = {}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Link

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append(body)
        if self.path in (ANNOUNCE, PART):
            reply = b"%d" % len(self.server.asked)
        elif self.path == POLL:
            reply = self.server.messages.pop(body, b"")
        else:
            content = self.server.objects.get(PullObjectRequest.FromString(body).object_id)
            reply = PullObjectResponse(
                object_found=content is not None,
                object_available=bool(content),
                object_content=content or b"",
            ).SerializeToString()
        self.send_response(200)
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def link() -> Iterator[Link]:
    with Link() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def gate(link: Link) -> Iterator[Gate]:
    with Gate(ServerSettings.from_mapping({"classes": ["a", "b"], "port": 0})) as opened:
        with opened.serving(link.server_port):
            yield opened


def ask(gate: Gate, path: str, body: bytes) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", gate.port, timeout=60.0)
    connection.request("POST", path, body)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    assert response.status == 200, content
    return content


class Poll(threading.Thread):
    """A poll in a thread, with its reply."""

    def __init__(self, gate: Gate, body: bytes) -> None:
        super().__init__()
        self._gate, self._body = gate, body
        self.reply: bytes | None = None
        self.start()

    def run(self) -> None:
        self.reply = ask(self._gate, POLL, self._body)


def test_a_poll_waits_until_a_server_app_has_sent_something(
    gate: Gate, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poll_board, "_HOLD_SEC", 600.0)
    begin(gate)
    for robot in ROBOTS:
        wait_until(lambda robot=robot: _knows_nothing(gate, link, robot), "nothing for a robot")
    link.messages[ROBOTS[0]] = b"hello"
    polls = [Poll(gate, robot) for robot in ROBOTS]
    os.write(gate.notice_fd, CHANGED)
    polls[0].join(60.0)
    assert polls[0].reply == b"hello"
    polls[1].join(60.0)
    assert polls[1].reply == b""


def begin(gate: Gate) -> None:
    """Say that a SuperLink has begun."""
    os.write(gate.notice_fd, STARTED)
    wait_until(lambda: gate._api.board.changes, "the notice of a start")


def _knows_nothing(gate: Gate, link: Link, robot: bytes) -> bool:
    """Ask once, unless the gate knows already that there is no message."""
    board = gate._api.board
    if board._is_told and board._told_nothing.get(robot) == board.changes:
        return True
    ask(gate, POLL, robot)
    return False


def test_polls_without_news_do_not_reach_the_superlink(
    gate: Gate, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poll_board, "_HOLD_SEC", 0.0)
    begin(gate)
    wait_until(lambda: _knows_nothing(gate, link, ROBOTS[0]), "nothing for the robot")
    asked = len(link.asked)
    for _ in range(20):
        assert ask(gate, POLL, ROBOTS[0]) == b""
    assert len(link.asked) == asked
    ask(gate, POLL, ROBOTS[1])
    assert len(link.asked) == asked + 1


def test_a_superlink_that_gives_no_notices_is_asked_each_time(gate: Gate, link: Link) -> None:
    for _ in range(3):
        ask(gate, POLL, ROBOTS[0])
    link.messages[ROBOTS[0]] = b"hello"
    assert ask(gate, POLL, ROBOTS[0]) == b"hello"
    assert len(link.asked) == 4


def test_an_object_is_fetched_once_for_all_robots(gate: Gate, link: Link) -> None:
    link.objects["weights"] = b"Array 5\0hello"
    for number in range(5):
        request = PullObjectRequest(node=Node(node_id=number), run_id=7, object_id="weights")
        reply = PullObjectResponse.FromString(ask(gate, OBJECT, request.SerializeToString()))
        assert reply.object_content == b"Array 5\0hello"
    assert len(link.asked) == 1
    other_run = PullObjectRequest(run_id=8, object_id="weights").SerializeToString()
    ask(gate, OBJECT, other_run)
    assert len(link.asked) == 2
    os.write(gate.notice_fd, STARTED)  # another SuperLink knows no object of an earlier one
    wait_until(lambda: ask(gate, OBJECT, other_run) and len(link.asked) == 3, "a new fetch")


def test_messages_and_objects_that_are_not_there_yet_are_asked_for_each_time(
    gate: Gate, link: Link
) -> None:
    link.objects |= {"message": b"Message 1\0x", "coming": b""}
    for name in ("message", "coming", "absent"):
        request = PullObjectRequest(run_id=7, object_id=name).SerializeToString()
        before = len(link.asked)
        for _ in range(3):
            ask(gate, OBJECT, request)
        assert len(link.asked) == before + 3


def test_an_announcement_whose_receipt_was_lost_reaches_the_superlink_once(
    gate: Gate, link: Link
) -> None:
    first = ask(gate, ANNOUNCE, b"reply to round 1")
    assert [ask(gate, ANNOUNCE, b"reply to round 1") for _ in range(2)] == [first, first]
    assert len(link.asked) == 1
    assert ask(gate, ANNOUNCE, b"reply to round 2") != first
    ask(gate, PART, b"weights")
    # After a part the robot got the receipt, and means what it says.
    ask(gate, ANNOUNCE, b"reply to round 2")
    assert link.asked[1:] == [b"reply to round 2", b"weights", b"reply to round 2"]
