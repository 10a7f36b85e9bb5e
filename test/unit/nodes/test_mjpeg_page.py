"""The page serves any number of browsers, and a slow one delays nobody."""

from __future__ import annotations

import http.client
import os
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from waiting import wait_until

from fl_robot_ros.errors import SettingError
from fl_robot_ros.nodes.mjpeg_page import MjpegPage
from fl_robot_ros.nodes.view_window import has_display


@pytest.fixture
def page() -> Iterator[MjpegPage]:
    opened = MjpegPage("<camera> & more")
    yield opened
    opened.close()


def ask(page: MjpegPage, path: str, host: str = "") -> http.client.HTTPResponse:
    address = urlsplit(page.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
    connection.request("GET", path, headers={"Host": host or address.netloc})
    return connection.getresponse()


def next_part(stream: http.client.HTTPResponse) -> bytes:
    """Return the next image of a stream."""
    assert stream.readline() == b"--frame\r\n"
    assert stream.readline() == b"Content-Type: image/jpeg\r\n"
    length = int(stream.readline().partition(b": ")[2])
    assert stream.readline() == b"\r\n"
    image = stream.read(length)
    assert stream.readline() == b"\r\n"
    return image


def test_the_page_names_the_stream_and_its_title_is_text(page: MjpegPage) -> None:
    reply = ask(page, "/")
    text = reply.read().decode()
    assert reply.status == 200
    assert "<title>&lt;camera&gt; &amp; more</title>" in text
    assert 'src="/stream"' in text
    assert ask(page, "/etc/passwd").status == 404
    assert ask(page, "/", "localhost:1").status == 200
    # A page of another site, whose name leads to 127.0.0.1.
    assert ask(page, "/stream", "evil.example.org").status == 403


def test_every_browser_gets_the_newest_image_and_a_slow_one_delays_nobody(
    page: MjpegPage,
) -> None:
    assert not page.is_watched
    slow, first, second = (ask(page, "/stream?1") for _ in range(3))
    assert first.getheader("Content-Type") == "multipart/x-mixed-replace; boundary=frame"
    # None of these is taken by the slow one, in whose buffers they do not fit.
    for number in range(30):
        image = bytes([number]) * 1_000_000
        page.show(image)
        assert next_part(first) == image
        assert next_part(second) == image
    taken = [next_part(slow)[0]]
    while taken[-1] != 29:
        taken.append(next_part(slow)[0])
    assert len(taken) < 20
    for stream in (slow, first, second):
        stream.close()


def test_a_browser_that_left_is_not_counted(page: MjpegPage) -> None:
    address = urlsplit(page.url)
    with socket.create_connection((address.hostname, address.port), timeout=30) as browser:
        browser.sendall(f"GET /stream HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode())
        assert browser.recv(12) == b"HTTP/1.0 200"
        wait_until(lambda: page.is_watched, "the browser watches")

    def is_left() -> bool:
        page.show(b"image")
        return not page.is_watched

    wait_until(is_left, "the browser is gone")


def test_closing_ends_the_streams(page: MjpegPage) -> None:
    stream = ask(page, "/stream")
    page.show(b"last")
    assert next_part(stream) == b"last"
    page.close()
    assert stream.read() == b""


def test_a_port_in_use_is_an_invalid_setting(page: MjpegPage) -> None:
    port = urlsplit(page.url).port or 0
    with pytest.raises(SettingError, match=f"page_port is {port}; .* choose another, or 0"):
        MjpegPage("second", port)


def test_without_a_display_there_is_no_window(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert not has_display()
    # One that cannot be reached, which some libraries of windows end the process for.
    monkeypatch.setenv("DISPLAY", f"127.0.0.1:{os.getpid()}")
    assert not has_display()
