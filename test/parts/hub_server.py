"""A small Hugging Face hub on the loopback interface: what `datasets` asks for a download."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import struct
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

_COMMIT = "0123456789abcdef0123456789abcdef01234567"
_REVISION = r"/(revision|tree|resolve)/(?:main|\w{40})/?(.*)"
_PATH = re.compile(rf"(?:/api)?/datasets/(\w+/\w+)(?:{_REVISION})?")
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 s


class Hub(ThreadingHTTPServer):
    """A hub with some datasets.

    Args:
        datasets: The files of each dataset, by path.
        gated: Those that one must log in for.
        torn: Those of whose parquet files a half comes, and then the connection breaks.
    """

    daemon_threads = True

    def __init__(
        self,
        datasets: Mapping[str, Mapping[str, bytes]],
        gated: Collection[str] = (),
        torn: Collection[str] = (),
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.datasets, self.gated, self.torn = datasets, gated, torn

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def shutdown_request(self, request: Any) -> None:
        self.close_request(request)  # at once, so that a connection can be reset

    @contextmanager
    def running(self) -> Iterator[None]:
        """Answer until the end of the block."""
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield
        finally:
            self.shutdown()
            thread.join()
            self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = _PATH.fullmatch(unquote(urlsplit(self.path).path))
        if parts is None:
            return self._send(b"the hub's front page")
        name, what, path = parts.groups()
        files = self.server.datasets.get(name, {})
        if not files:
            return self._refuse(401, "RepoNotFound")
        if name in self.server.gated:
            return self._refuse(401, "GatedRepo")
        if what in (None, "revision"):
            return self._send_json({"id": name, "sha": _COMMIT})
        if what == "tree":
            return self._send_json(_tree(files, path))
        if path not in files:
            return self._refuse(404, "EntryNotFound")
        etag = hashlib.sha256(files[path]).hexdigest()
        is_torn = name in self.server.torn and path.endswith(".parquet")
        return self._send(files[path], {"ETag": f'"{etag}"', "X-Repo-Commit": _COMMIT}, is_torn)

    def log_message(self, *_: object) -> None:
        pass

    def _refuse(self, status: int, code: str) -> None:
        self._send(b"", {"X-Error-Code": code, "X-Error-Message": code}, status=status)

    def _send_json(self, value: Any) -> None:
        self._send(json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(
        self,
        data: bytes,
        headers: Mapping[str, str] | None = None,
        is_torn: bool = False,
        status: int = 200,
    ) -> None:
        self.send_response(status)
        for key, value in {**(headers or {}), "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(data[: len(data) // 2] if is_torn else data)
        if is_torn:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self.close_connection = True


def _tree(files: Mapping[str, bytes], folder: str) -> list[dict[str, Any]]:
    """Return what the hub lists of a folder: files with their sizes, and folders."""
    start = f"{folder}/" if folder else ""
    names = {
        path.removeprefix(start).partition("/")[0] for path in files if path.startswith(start)
    }
    entries: list[dict[str, Any]] = []
    for path in sorted(start + name for name in names):
        kind = "file" if path in files else "directory"
        size = len(files.get(path, b""))
        entries.append({"type": kind, "path": path, "size": size, "oid": _COMMIT})
    return entries
