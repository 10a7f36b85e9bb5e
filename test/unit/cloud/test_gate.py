"""What the gate passes, and what it refuses; a server of the test stands for the SuperLink."""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import repeat
from typing import ClassVar, NamedTuple

import pytest

from fl_robot_ros.cloud import fleet_api
from fl_robot_ros.cloud import gate as gate_module
from fl_robot_ros.cloud.fleet_api import FLEET_PATHS, MAX_BODY_BYTES
from fl_robot_ros.cloud.gate import Gate
from fl_robot_ros.config import ServerSettings
from fl_robot_ros.errors import SettingError

PULL = "/v1/fleet/pull-messages"


class Upstream(BaseHTTPRequestHandler):
    """Notes each request, and redirects those that ask for it."""

    protocol_version = "HTTP/1.1"
    seen: ClassVar[list[tuple[str, str, bytes]]] = []

    def do_POST(self) -> None:
        length = self.headers["Content-Length"]
        body = self.rfile.read(int(length) if length else None)
        if not length:
            return  # Chunks come to no end here.
        self.seen.append((self.command, self.path, body))
        moved = body == b"elsewhere"
        self.send_response(307 if moved else 200)
        if moved:
            self.send_header("Location", "http://192.0.2.1/")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Of-SuperLink", "yes")
        self.end_headers()
        self.wfile.write(body[::-1])

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def superlink() -> Iterator[int]:
    """Yield the port of a server that stands for the SuperLink."""
    Upstream.seen.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Upstream) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture
def gate(superlink: int) -> Iterator[Gate]:
    with Gate(ServerSettings.from_mapping({"classes": ["a", "b"], "port": 0})) as opened:
        with opened.serving(superlink):
            yield opened


class Reply(NamedTuple):
    status: int
    body: bytes
    headers: Message


def ask(gate: Gate, path: str, body: bytes = b"", method: str = "POST") -> Reply:
    connection = http.client.HTTPConnection("127.0.0.1", gate.port, timeout=60.0)
    connection.putrequest(method, path, skip_host=False)
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    response = connection.getresponse()
    reply = Reply(response.status, response.read(), response.headers)
    connection.close()
    return reply


def raw(gate: Gate, data: bytes) -> bytes:
    """Send bytes as they are; return the reply up to the end of the connection."""
    with socket.create_connection(("127.0.0.1", gate.port), 60.0) as connection:
        connection.sendall(data)
        reply = b""
        while chunk := connection.recv(65536):
            reply += chunk
        return reply


@pytest.mark.parametrize("path", sorted(path.decode() for path in FLEET_PATHS))
def test_the_fleet_api_passes_with_body_and_reply(gate: Gate, path: str) -> None:
    reply = ask(gate, path, b"\0abc")
    assert (reply.status, reply.body) == (200, b"cba\0")
    assert reply.headers["X-Of-SuperLink"] == "yes"
    assert Upstream.seen == [("POST", path, b"\0abc")]


def test_a_gate_between_two_runs_tells_when_the_next_one_begins(gate: Gate) -> None:
    gate.close_until(time.time() + 7200.0)
    for path in sorted(FLEET_PATHS):
        reply = ask(gate, path.decode())
        if path.endswith((b"/deactivate-node", b"/unregister-node")):
            assert reply.status == 200
            continue
        assert reply.status == 425
        values = json.loads(reply.body)
        assert re.fullmatch(
            r"no run is on; the next one begins at \w{3} \d\d:\d\d(:\d\d)?, in [12] h \d+ min",
            values["detail"],
        )
        assert 7100.0 < values["come_back_sec"] <= 7200.0
        assert 7100 < int(reply.headers["Retry-After"]) <= 7200
    # At the moment itself too, a robot is told when to come again, and does not fail.
    gate.close_until(time.time() - 0.5)
    assert json.loads(ask(gate, PULL).body)["come_back_sec"] == 1.0
    gate.close_until(None)
    assert ask(gate, PULL).status == 200


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/docs", "/openapi.json", "/health", "/v1/control/start-run", "/v1/runtime/pull"),
        *("/v1/fleet", "/v1/fleet/", "/v1/fleet/other", "/V1/fleet/pull-messages", PULL + "/"),
        *(
            "//v1/fleet/pull-messages",
            "/v1//fleet/pull-messages",
            "/v1/fleet/../control/x",
        ),
        *(
            "/v1/fleet/%2e%2e/control/x",
            "/v1/fleet/pull%2Dmessages",
            "/%761/fleet/get-run",
        ),
        *("/v1/fleet/pull-messages/../../control/stop-run", "/v1/fleet/..;/control/list-runs"),
        *("/v1/fleet\\..\\control\\stop-run", PULL + "#/../../control", PULL + ";x=/v1/control"),
        *("http://127.0.0.1/v1/control/stop-run", "*", PULL + "%00", PULL + "%20"),
    ],
)
def test_every_other_path_is_refused_however_it_is_spelt(gate: Gate, path: str) -> None:
    assert ask(gate, path).status in (400, 404)
    assert Upstream.seen == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "PRI"])
def test_every_other_method_is_refused(gate: Gate, method: str) -> None:
    assert ask(gate, PULL, method=method).status == 404
    assert Upstream.seen == []


def test_a_query_and_a_second_request_in_a_body_do_not_reach_the_superlink(gate: Gate) -> None:
    hidden = b"POST /v1/control/stop-run HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    assert ask(gate, PULL + "?path=/v1/control/stop-run", hidden).status == 200
    assert Upstream.seen == [("POST", PULL, hidden)]
    both = b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n"
    raw(gate, f"POST {PULL} HTTP/1.1\r\nHost: x\r\n".encode() + both + hidden)
    assert {path for _, path, _ in Upstream.seen} == {PULL}


def test_a_redirect_is_not_followed(gate: Gate) -> None:
    assert ask(gate, PULL, b"elsewhere").status == 307


def test_a_body_that_is_too_large_is_refused(gate: Gate) -> None:
    head = f"POST {PULL} HTTP/1.1\r\nHost: x\r\n".encode()
    told = raw(gate, head + f"Content-Length: {MAX_BODY_BYTES + 1}\r\n\r\n".encode())
    assert told.startswith(b"HTTP/1.1 413")
    endless = head + b"Transfer-Encoding: chunked\r\n\r\n"
    piece = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
    with socket.create_connection(("127.0.0.1", gate.port), 60.0) as connection:
        connection.sendall(endless)
        with pytest.raises(ConnectionError):
            deque(map(connection.sendall, repeat(piece)), maxlen=0)
    assert Upstream.seen == []


def test_a_reply_that_is_larger_than_the_model_is_refused(gate: Gate) -> None:
    gate.limit_replies(4_000_000)
    for _ in range(2):
        assert ask(gate, "/v1/fleet/push-messages").status == 200
        for _ in range(3):  # the receipts of two were lost
            assert ask(gate, "/v1/fleet/push-object", bytes(3_000_000)).status == 200
    refused = ask(gate, "/v1/fleet/push-object", bytes(3_000_001))
    assert refused.status == 413
    assert b"a reply has at most 5548576 bytes" in refused.body


def test_a_body_that_does_not_come_is_not_waited_for(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_api, "_PAUSE_SEC", 0.2)
    head = f"POST {PULL} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1".encode()
    assert raw(gate, head).startswith(b"HTTP/1.1 408")
    monkeypatch.setattr(gate_module, "_HEADERS_SEC", 0.2)
    assert raw(gate, b"POST /v1/fl") == b""


def test_without_a_superlink_robots_are_told_to_come_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with Gate(ServerSettings.from_mapping({"classes": ["a", "b"], "port": 0})) as gate:
        with gate.serving(port):
            assert ask(gate, PULL).status == 503


def test_a_port_in_use_and_a_foreign_address_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_module, "_PORT_TIMEOUT_SEC", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(SettingError) as caught:
            Gate(ServerSettings.from_mapping({"classes": ["a", "b"], "port": port}))
    words = f"cannot listen on host '127.0.0.1', port {port}: Address already in use"
    assert words in str(caught.value)
    values = {"classes": ["a", "b"], "host": "192.0.2.1", "port": 1024}
    with pytest.raises(SettingError, match=r"host '192\.0\.2\.1'"):
        Gate(ServerSettings.from_mapping(values))
