"""Two hosts in network namespaces, joined by a cable, for ROS as it is by default."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from typing import Any

_ADDRESSES = ("10.77.0.1/24", "10.77.0.2/24")


class TwoHosts:
    """Makes the namespaces, and removes them at the end.

    Attributes:
        names: Names of the two namespaces.
    """

    def __init__(self) -> None:
        """Make them.

        Raises:
            PermissionError: This machine does not allow it; the message says why.
        """
        self.names = tuple(f"fl-{os.getpid()}-{side}" for side in "ab")
        if shutil.which("ip") is None:
            raise PermissionError("needs the program ip (iproute2)")
        try:
            self._make()
        except subprocess.CalledProcessError as error:
            self.close()
            reason = error.stderr.decode(errors="replace").strip()
            raise PermissionError(f"network namespaces are not allowed: {reason}") from error

    def _make(self) -> None:
        cables = [f"flv{os.getpid()}{side}" for side in "ab"]
        for name in self.names:
            _ip("netns", "add", name)
        _ip("link", "add", cables[0], "type", "veth", "peer", "name", cables[1])
        for name, cable, address in zip(self.names, cables, _ADDRESSES, strict=True):
            _ip("link", "set", cable, "netns", name)
            _ip("-n", name, "address", "add", address, "dev", cable)
            _ip("-n", name, "link", "set", "lo", "up")
            _ip("-n", name, "link", "set", cable, "up", "multicast", "on")
            _ip("-n", name, "route", "add", "default", "dev", cable)

    def command(self, host: int, command: Sequence[str]) -> list[str]:
        """Return a command line that runs a command on the first (0) or second (1) host.

        The second has shared memory of its own, like another machine, for this command alone.
        """
        inside = ["ip", "netns", "exec", self.names[host]]
        if host:
            mount = 'mount -t tmpfs tmpfs /dev/shm && exec "$@"'
            inside += ["sh", "-c", mount, "sh"]
        return [*inside, *command]

    def close(self) -> None:
        """Remove the namespaces; the cable goes with them."""
        for name in self.names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], capture_output=True, check=True)


def as_by_default(environment: dict[str, str]) -> dict[str, Any]:
    """Return an environment in which ROS discovers as for somebody who set nothing."""
    chosen = ("ROS_AUTOMATIC_DISCOVERY_RANGE", "FASTDDS_", "FASTRTPS_")
    return {key: value for key, value in environment.items() if not key.startswith(chosen)}
