"""What robot and operator read of a connection that cannot be: real listeners, real TLS."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from fleet_keys import enrol, serving_gate, write_server_certificate
from waiting import wait_until

from fl_robot_ros.errors import IdentityError, NoRunError, ServerUnreachableError
from fl_robot_ros.identity.enrolment import Enrolment
from fl_robot_ros.identity.key_folder import KeyFolder
from fl_robot_ros.worker import first_contact, robot_key
from fl_robot_ros.worker.first_contact import introduce, read_certificates

LINE_SEC = 60.0


class SuperLink(BaseHTTPRequestHandler):
    """Refuses a robot that it does not know, as a real one."""

    def do_POST(self) -> None:
        body = b'{"detail":"Invalid SuperNode authentication"}'
        self.send_response(401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture(scope="module")
def superlink() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), SuperLink) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeyFolder:
    return KeyFolder.create(tmp_path_factory.mktemp("fleet") / "keys", ["127.0.0.1"])


@pytest.fixture(scope="module")
def robots(keys: KeyFolder) -> dict[str, Enrolment | None]:
    """The robots of the tables: enrolled, revoked, unknown, of another fleet, and without one."""
    enrolled = enrol(keys, "good")
    lost = enrol(keys, "lost")
    keys.revoke("lost")
    copy = keys.path.with_name("copy")
    shutil.copytree(keys.path, copy)
    other = KeyFolder.create(keys.path.with_name("other"), ["127.0.0.1"])
    return {
        "good": enrolled,
        "lost": lost,
        "unknown": enrol(KeyFolder(copy), "unknown"),
        "foreign": enrol(other, "foreign"),
        "none": None,
    }


def contact(port: int, robots: dict[str, Enrolment | None], name: str) -> None:
    """Have a robot introduce itself."""
    enrolment = robots.get(name)
    authority = read_certificates("", robots["good"] if name == "none with CA" else enrolment)
    introduce(f"127.0.0.1:{port}", authority, enrolment, 0.0)


@pytest.mark.parametrize(
    ("server", "robot", "told", "said"),
    [
        (
            "keys",
            "unknown",
            "does not take this robot: this server knows enrolled robots alone",
            "refused 127.0.0.1: this server knows enrolled robots alone",
        ),
        ("keys", "lost", "robot lost was revoked at 2", "refused lost: robot lost was revoked"),
        ("keys", "none with CA", "set enrolment on the robot", "refused 127.0.0.1: this server"),
        (
            "keys",
            "foreign",
            "is not trusted: its certificate is of another authority",
            "refused 127.0.0.1: it does not know the authority of this server's certificate",
        ),
        (
            "keys",
            "none",
            "speaks TLS, and this robot was told plain HTTP; set enrolment",
            "refused 127.0.0.1: it speaks plain HTTP, and this server TLS",
        ),
        (
            "expired",
            "good",
            "its certificate has expired; make a new one with 'fl_keys host'",
            "refused 127.0.0.1: it finds this server's certificate expired",
        ),
        (
            "not yet valid",
            "good",
            "its certificate is not valid yet; set this robot's clock right",
            "refused 127.0.0.1: it does not take this server's certificate",
        ),
        (
            "other name",
            "good",
            "its certificate is not for 127.0.0.1; make one with 'fl_keys host'",
            "under a name or address that is not in it",
        ),
        (
            "plain",
            "good",
            "speaks plain HTTP, and this robot goes to servers with TLS alone",
            "refused 127.0.0.1: it speaks TLS, and this server plain HTTP",
        ),
        ("TLS alone", "good", "has no list of enrolled robots, and signs no models", ""),
    ],
)
def test_what_is_wrong_is_one_line_at_each_end(
    server: str,
    robot: str,
    told: str,
    said: str,
    keys: KeyFolder,
    robots: dict[str, Enrolment | None],
    superlink: int,
    tmp_path: Path,
) -> None:
    certificate: Path | None = tmp_path / "server.pem"
    if server == "expired":
        write_server_certificate(keys, tmp_path / "server.pem", begins_days=-2, ends_days=-1)
    elif server == "not yet valid":
        write_server_certificate(keys, tmp_path / "server.pem", begins_days=1, ends_days=2)
    elif server == "other name":
        write_server_certificate(
            keys, tmp_path / "server.pem", begins_days=-1, ends_days=2, host="fleet.example.org"
        )
    else:
        certificate = None if server == "plain" else keys.server_file
    robots_file = None if server in ("plain", "TLS alone") else keys.robots_file
    lines: list[str] = []
    with serving_gate(superlink, certificate, robots_file, lines.append) as gate:
        with pytest.raises(ServerUnreachableError) as caught:
            contact(gate.port, robots, robot)
        if said:
            wait_until(lambda: any(said in line for line in lines), "a line", LINE_SEC)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert all(line.count("\n") == 0 and line.startswith("refused ") for line in lines)


@pytest.mark.parametrize(
    ("server", "robot"), [("keys", "good"), ("plain", "none"), ("TLS alone", "none with CA")]
)
def test_who_may_join_goes_on(
    server: str,
    robot: str,
    keys: KeyFolder,
    robots: dict[str, Enrolment | None],
    superlink: int,
) -> None:
    certificate = None if server == "plain" else keys.server_file
    robots_file = keys.robots_file if server == "keys" else None
    lines: list[str] = []
    with serving_gate(superlink, certificate, robots_file, lines.append) as gate:
        contact(gate.port, robots, robot)
    assert lines == []


@pytest.mark.parametrize(("server", "robot"), [("keys", "good"), ("plain", "none")])
def test_a_robot_between_two_runs_is_told_when_to_come_back(
    server: str,
    robot: str,
    keys: KeyFolder,
    robots: dict[str, Enrolment | None],
    superlink: int,
) -> None:
    certificate, robots_file = (
        (keys.server_file, keys.robots_file) if server == "keys" else (None, None)
    )
    lines: list[str] = []
    with serving_gate(superlink, certificate, robots_file, lines.append) as gate:
        gate.close_until(time.time() + 3600.0)
        with pytest.raises(NoRunError, match=r"^no run is on; the next one begins at") as caught:
            contact(gate.port, robots, robot)
        assert 3500.0 < caught.value.come_back_sec < 3700.0
        assert lines == []
        if server == "keys":
            with pytest.raises(ServerUnreachableError, match="robot lost was revoked"):
                contact(gate.port, robots, "lost")
        gate.close_until(None)
        contact(gate.port, robots, robot)


@pytest.mark.parametrize(("seconds", "words"), [(60, "60 s ahead of"), (-400, "400 s behind")])
def test_a_clock_that_is_wrong_is_told_by_how_much(
    seconds: int,
    words: str,
    keys: KeyFolder,
    robots: dict[str, Enrolment | None],
    superlink: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, *zone: Any) -> datetime:
            return datetime.now(*zone) + timedelta(seconds=seconds)

    monkeypatch.setattr(robot_key, "datetime", Clock)
    lines: list[str] = []
    with serving_gate(superlink, keys.server_file, keys.robots_file, lines.append) as gate:
        with pytest.raises(ServerUnreachableError, match=f"the robot's clock is {words}"):
            contact(gate.port, robots, "good")
    assert any(line.startswith("refused good: the robot's clock is") for line in lines)


def test_a_key_that_is_none_is_told(
    keys: KeyFolder, robots: dict[str, Enrolment | None], superlink: int
) -> None:
    good = robots["good"]
    assert good is not None
    damaged = replace(good, private_key=good.private_key[:200])
    with serving_gate(superlink, keys.server_file, keys.robots_file, print) as gate:
        with pytest.raises(IdentityError, match="the private key in the enrolment of good is"):
            contact(gate.port, {"damaged": damaged}, "damaged")


@pytest.mark.parametrize("robot", ["good", "none"])
def test_a_server_that_drips_is_left(
    robot: str, robots: dict[str, Enrolment | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_contact, "_REPLY_SEC", 0.5)
    is_over = threading.Event()

    def drip(listener: socket.socket) -> None:
        while not is_over.is_set():
            try:
                client, _ = listener.accept()
                with client:
                    # The begin of a record of TLS, and of a line of HTTP.
                    client.sendall(b"\x16\x03\x03\x40\x00" if robot == "good" else b"HTTP/1.1 2")
                    while not is_over.wait(0.02):
                        client.sendall(b"0")
            except OSError:
                continue  # the robot left

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,), daemon=True)
        thread.start()
        with pytest.raises(ServerUnreachableError, match=r"not reply in 0\.5 s; look whether"):
            contact(listener.getsockname()[1], robots, robot)
        is_over.set()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", b"?", b"SSH-2.0-x\r\n"]
)
def test_what_is_no_server_of_a_fleet_is_told(answer: bytes) -> None:
    def serve(listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                client.recv(4096)
                client.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        port = listener.getsockname()[1]
        told = f"127.0.0.1:{port} is no fl_server; correct the host and the port"
        with pytest.raises(ServerUnreachableError, match=told):
            contact(port, {}, "none")
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
