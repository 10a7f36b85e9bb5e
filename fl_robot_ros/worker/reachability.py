"""A first contact with the server, before Flower and TensorFlow are loaded."""

from __future__ import annotations

import socket
import time

from fl_robot_ros.errors import ServerUnreachableError

_PROBE_INTERVAL_SEC = 0.25


def wait_for_listener(address: str, timeout_sec: float) -> None:
    """Wait until the server's port takes connections.

    Args:
        address: host:port.
        timeout_sec: How long to try.

    Raises:
        ServerUnreachableError: The port takes none in time.
    """
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
        time.sleep(_PROBE_INTERVAL_SEC)
