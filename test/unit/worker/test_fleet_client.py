"""A request ends in time, whatever the server does."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from flwr.proto.fleet_pb2 import PullMessagesRequest, PullMessagesResponse, PushMessagesResponse
from flwr.proto.message_pb2 import PushObjectRequest
from flwr.supercore.primitives.asymmetric import generate_key_pairs
from hostile_server import (
    Act,
    drip,
    drip_body,
    flood,
    hostile_server,
    redirect_to,
    refuse,
    stall,
)

from fl_robot_ros.errors import (
    FlRobotError,
    NoRunError,
    RequestRefusedError,
    ServerUnreachableError,
)
from fl_robot_ros.worker.fleet_client import FleetClient

ANSWER = PullMessagesResponse(reconnect={"reconnect": 7})


@contextmanager
def client(port: int, *, pause_sec: float = 60.0, away_sec: float = 0.5) -> Iterator[FleetClient]:
    opened = FleetClient(
        f"127.0.0.1:{port}",
        keys=generate_key_pairs(),
        tls=None,
        server_timeout_sec=away_sec,
        pause_sec=pause_sec,
    )
    try:
        yield opened
    finally:
        opened.close()


def ask(link: FleetClient, within_sec: float | None = None) -> PullMessagesResponse:
    return link.call(
        "pull-messages", PullMessagesRequest(), PullMessagesResponse(), within_sec=within_sec
    )


@pytest.mark.parametrize(
    ("act", "error", "reason"),
    [
        (stall, ServerUnreachableError, "no reply, or one that is too slow"),
        (drip, ServerUnreachableError, "no reply, or one that is too slow"),
        (drip_body, ServerUnreachableError, "no reply, or one that is too slow"),
        (flood, ServerUnreachableError, "its reply is larger than 8 MiB"),
        (lambda _: None, ServerUnreachableError, "disconnected"),
        (refuse(200, b"\xff\xff"), ServerUnreachableError, "no message of Flower"),
        (refuse(503, b"busy"), RequestRefusedError, "503: busy"),
        (refuse(404, b"not\x1b[2J here\r\n"), RequestRefusedError, r"404: not \[2J here$"),
        (refuse(403, b'{"code": 7, "detail": "over"}'), RequestRefusedError, "403: over$"),
        (refuse(400, b"[" * 60_000), RequestRefusedError, r"400: \[\[\["),
    ],
)
def test_every_request_ends_with_one_line(act: Act, error: type[Exception], reason: str) -> None:
    # Only who waits for the end of its patience may lose it, on a busy machine too.
    pause_sec = 0.3 if "too slow" in reason else 60.0
    with hostile_server(act) as port, client(port, pause_sec=pause_sec) as link:
        with pytest.raises(FlRobotError, match=reason) as raised:
            ask(link)
        assert isinstance(raised.value, error | ServerUnreachableError)
        assert f"127.0.0.1:{port}" in str(raised.value)
        assert str(raised.value).isprintable()


@pytest.mark.parametrize(
    ("body", "reason", "least", "most"),
    [
        (
            b'{"detail": "no run\\nis on", "come_back_sec": 60}',
            "no run is on; server ",
            60.0,
            65.0,
        ),
        (b'{"detail": "no run", "come_back_sec": 1e300}', "no run; server ", 3e7, 4e7),
        (b'{"detail": "no run", "come_back_sec": -5}', "no run; server ", 0.0, 0.0),
        (b'{"detail": "no run", "come_back_sec": NaN}', "no run; server ", 0.0, 0.0),
        (b'{"detail": "no run", "come_back_sec": "soon"}', "no run; server ", 0.0, 0.0),
        (b'{"detail": "no run", "come_back_sec": true}', "no run; server ", 0.0, 0.0),
        (b"[]", "no run is on; server ", 0.0, 0.0),
        (b"[" * 60_000, "no run is on; server ", 0.0, 0.0),
        (b"\xff", "no run is on; server ", 0.0, 0.0),
    ],
)
def test_a_server_between_two_runs_is_left_until_it_says(
    body: bytes, reason: str, least: float, most: float
) -> None:
    with hostile_server(refuse(425, body)) as port, client(port) as link:
        with pytest.raises(NoRunError, match=f"^{reason}127") as raised:
            ask(link)
    assert least <= raised.value.come_back_sec <= most


def test_a_redirect_is_not_followed() -> None:
    asked = threading.Event()

    def listen(connection: socket.socket) -> None:
        asked.set()

    with (
        hostile_server(listen) as elsewhere,
        hostile_server(redirect_to(f"http://127.0.0.1:{elsewhere}/x")) as port,
        client(port) as link,
    ):
        with pytest.raises(RequestRefusedError, match="follows no redirect"):
            ask(link)
    assert not asked.is_set()


def test_a_request_that_the_server_does_not_read_ends() -> None:
    release = threading.Event()
    with (
        hostile_server(lambda _: bool(release.wait())) as port,
        client(port, pause_sec=0.3) as link,
    ):  # type: ignore[arg-type,return-value]
        with pytest.raises(ServerUnreachableError, match="too slow"):
            link.call(
                "push-object",
                PushObjectRequest(object_content=bytes(30 << 20)),
                PushMessagesResponse(),
            )
        release.set()


def test_a_request_that_makes_progress_may_take_longer_than_a_pause() -> None:
    body = ANSWER.SerializeToString()
    pause = threading.Event()

    def reply_slowly(connection: socket.socket) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body) + 50_000}\r\n\r\n"
        connection.sendall(head.encode() + body)
        for _ in range(5):
            pause.wait(0.7)
            connection.sendall(b"\x52\x00" * 5_000)  # fields that nobody knows

    with hostile_server(reply_slowly) as port, client(port, pause_sec=3.0) as link:
        assert ask(link).reconnect.reconnect == 7


def test_a_request_is_sent_again_while_the_server_is_away() -> None:
    body = ANSWER.SerializeToString()
    replies = iter([refuse(503, b"soon"), lambda _: None, refuse(200, body)])
    with (
        hostile_server(lambda connection: next(replies)(connection)) as port,
        client(port, away_sec=60.0, pause_sec=60.0) as link,
    ):
        assert ask(link).reconnect.reconnect == 7


def test_a_farewell_takes_no_longer_than_it_may() -> None:
    with hostile_server(stall) as port, client(port, pause_sec=3600.0, away_sec=3600.0) as link:
        with pytest.raises(ServerUnreachableError, match="lost the server"):
            ask(link, within_sec=0.2)


def test_who_waits_hears_of_the_end_of_the_connection() -> None:
    heard: list[Exception] = []
    with hostile_server(stall) as port, client(port, pause_sec=3600.0) as link:

        def wait() -> None:
            try:
                ask(link)
            except ServerUnreachableError as error:
                heard.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
    thread.join(60.0)
    assert len(heard) == 1
    with pytest.raises(ServerUnreachableError, match="closed"):
        ask(link)
