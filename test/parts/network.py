"""Two hosts in network namespaces, joined by a cable that can be slow, and be cut."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from typing import Any

ADDRESSES = ("10.77.0.1", "10.77.0.2")


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
        self._cables = tuple(f"flv{os.getpid()}{side}" for side in "ab")
        if shutil.which("ip") is None:
            raise PermissionError("needs the program ip (iproute2)")
        try:
            self._make()
        except subprocess.CalledProcessError as error:
            self.close()
            reason = error.stderr.decode(errors="replace").strip()
            raise PermissionError(f"network namespaces are not allowed: {reason}") from error

    def _make(self) -> None:
        cables = self._cables
        for name in self.names:
            _ip("netns", "add", name)
        _ip("link", "add", cables[0], "type", "veth", "peer", "name", cables[1])
        for name, cable, address in zip(self.names, cables, ADDRESSES, strict=True):
            _ip("link", "set", cable, "netns", name)
            _ip("-n", name, "address", "add", f"{address}/24", "dev", cable)
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

    def slow_down(self, rate: str) -> None:
        """Let no more than a rate through in each direction, as in `20mbit`.

        Raises:
            PermissionError: This machine does not allow it; the message says why.
        """
        for name, cable in zip(self.names, self._cables, strict=True):
            command = ["tc", "-n", name, "qdisc", "add", "dev", cable, "root", "tbf"]
            command += ["rate", rate, "burst", "64kb", "latency", "500ms"]
            try:
                subprocess.run(command, capture_output=True, check=True)
            except FileNotFoundError as error:
                raise PermissionError("needs the program tc (iproute2)") from error
            except subprocess.CalledProcessError as error:
                reason = error.stderr.decode(errors="replace").strip()
                raise PermissionError(f"the kernel has no slow links: {reason}") from error

    def cut(self) -> None:
        """Pull the cable out of the first host; nobody is told."""
        _ip("-n", self.names[0], "link", "set", self._cables[0], "down")

    def mend(self) -> None:
        """Put the cable in again."""
        _ip("-n", self.names[0], "link", "set", self._cables[0], "up")

    def received_bytes(self) -> int:
        """Return how much has reached the first host."""
        command = ["ip", "-n", self.names[0], "-s", "-j", "link", "show", self._cables[0]]
        [link] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        return int(link["stats64"]["rx"]["bytes"])

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
