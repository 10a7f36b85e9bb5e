"""A page on this machine that shows images as they come, for any number of browsers."""

from __future__ import annotations

import html
import socket
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from fl_robot_ros.errors import SettingError

HOST = "127.0.0.1"

# A page of another site may not read from here under a name of its own that leads here.
_OWN_NAMES = ("127.0.0.1", "localhost")
# A browser that takes nothing for so long is left.
_PATIENCE_SEC = 10.0
# What waits in the kernel for a slow browser is old when it comes.
_SEND_BUFFER_BYTES = 1 << 16
_BOUNDARY = "frame"
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{title}</title>
<style>
  html, body {{ margin: 0; height: 100%; background: #181a1e; }}
  img {{ display: block; width: 100%; height: 100%; object-fit: contain; }}
</style>
<img src="/stream" alt="{title}: no images; has fl_viewer ended?"
     onerror="setTimeout(() => {{ this.src = '/stream?' + Date.now(); }}, 1000)">
</html>
"""


class MjpegPage:
    """Owns a web server on the loopback interface, with a thread for each browser.

    Each browser gets the newest image whenever it has taken the one before: a slow one skips
    images and delays nobody.

    Attributes:
        url: Address of the page.
    """

    def __init__(self, title: str, port: int = 0) -> None:
        """Start to serve.

        Args:
            title: Title of the page.
            port: TCP port; 0: a free one.

        Raises:
            SettingError: The port cannot be used.
        """
        self._title = title
        self._condition = threading.Condition()
        self._jpeg = b""
        self._number = 0
        self._watching = 0
        self._is_closed = False
        handler = type("Handler", (_Handler,), {"page": self})
        try:
            self._server = _Server((HOST, port), handler)
        except OSError as error:
            raise SettingError(
                f"page_port is {port!r}; {HOST}:{port} cannot be used: {error.strerror}; choose "
                "another, or 0 for a free one"
            ) from error
        self.url = f"http://{HOST}:{self._server.server_port}/"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="mjpeg-page", daemon=True
        )
        self._thread.start()

    @property
    def is_watched(self) -> bool:
        """Whether any browser takes images."""
        return self._watching > 0

    @property
    def document(self) -> bytes:
        """The page."""
        return _PAGE.format(title=html.escape(self._title)).encode()

    def show(self, jpeg: bytes) -> None:
        """Send an image to every browser; returns at once."""
        with self._condition:
            self._jpeg = jpeg
            self._number += 1
            self._condition.notify_all()

    def next_image(self, after: int) -> tuple[bytes, int] | None:
        """Wait for an image, and return it with its number; None once the page is closed.

        Args:
            after: Number of the last image that was taken, 0 for none.
        """
        with self._condition:
            self._condition.wait_for(lambda: self._is_closed or self._number > after)
            return None if self._is_closed else (self._jpeg, self._number)

    def watch(self, change: int) -> None:
        """Count a browser that begins (1) or ends (-1) to take images."""
        with self._condition:
            self._watching += change

    def close(self) -> None:
        """End the streams and the server."""
        with self._condition:
            self._is_closed = True
            self._condition.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # A browser that takes nothing must not hold the end up.

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a browser that went away."""


class _Handler(BaseHTTPRequestHandler):
    page: MjpegPage
    timeout = _PATIENCE_SEC

    def setup(self) -> None:
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        super().setup()

    def do_GET(self) -> None:
        name = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
        if name not in _OWN_NAMES:
            self.send_error(HTTPStatus.FORBIDDEN, "Ask for 127.0.0.1 or localhost")
            return
        path = self.path.partition("?")[0]
        if path == "/":
            self._send("text/html; charset=utf-8", self.page.document)
        elif path == "/stream":
            self.page.watch(1)
            try:
                self._stream()
            finally:
                self.page.watch(-1)
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log nothing: each image would be a line."""

    def _send(self, content_type: str, content: bytes) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _stream(self) -> None:
        self.close_connection = True
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        number = 0
        while (taken := self.page.next_image(number)) is not None:
            jpeg, number = taken
            head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}"
            self.wfile.write(f"{head}\r\n\r\n".encode() + jpeg + b"\r\n")
