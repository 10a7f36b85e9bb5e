"""A first contact with the server, before Flower and TensorFlow are loaded."""

from __future__ import annotations

import socket
import threading
import time

from fl_robot_ros.errors import RunCancelledError, ServerUnreachableError

_PROBE_INTERVAL_SEC = 0.25


def wait_for_listener(
    address: str, timeout_sec: float, stop: threading.Event | None = None
) -> None:
    """Wait until the server's port takes connections.

    Args:
        address: host:port.
        timeout_sec: How long to try.
        stop: Ends the wait when set, after the attempt in progress.

    Raises:
        ServerUnreachableError: The port takes none in time.
        RunCancelledError: `stop` was set.
    """
    stop = stop or threading.Event()
    host, _, port = address.rpartition(":")
    deadline = time.monotonic() + timeout_sec
    while True:
        left = deadline - time.monotonic()
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=max(left, 0.1)):
                return
        except OSError as error:
            if deadline - time.monotonic() <= _PROBE_INTERVAL_SEC:
                raise ServerUnreachableError(
                    f"no server at {address} after {timeout_sec:g} s: {error.strerror or error}"
                ) from error
        if stop.wait(_PROBE_INTERVAL_SEC):
            raise RunCancelledError("the run was left")
