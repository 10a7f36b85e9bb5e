"""A ROS domain that nobody else on this machine uses."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from fl_robot_ros.errors import RunFailedError

# DDSI-RTPS 2.5, 9.6.2.3: ports of a domain begin here, and lie so far apart.
_PORT_BASE = 7400
_PORTS_PER_DOMAIN = 250
# Offsets of the ports for discovery: multicast, and unicast of the first participant.
_DISCOVERY_PORTS = (0, 10)
# Linux hands out ports from 32768 on to anybody; domains above 101 would meet them.
_DOMAINS = range(1, 102)


@contextmanager
def private_ros_domain() -> Iterator[dict[str, str]]:
    """Claim a domain until the end of the `with` block.

    DDS uses UDP only, so that the TCP port with the number of a domain's first port can be held as
    a sign for others that call this function at the same time.

    Yields:
        Environment variables that put a process into the domain.

    Raises:
        RunFailedError: Every domain is in use.
    """
    for domain in random.sample(_DOMAINS, len(_DOMAINS)):
        first = _PORT_BASE + _PORTS_PER_DOMAIN * domain
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as claim:
            try:
                claim.bind(("127.0.0.1", first))
                for offset in _DISCOVERY_PORTS:
                    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                        probe.bind(("", first + offset))
            except OSError:
                continue
            yield {"ROS_DOMAIN_ID": str(domain), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
            return
    raise RunFailedError(f"every ROS domain from {_DOMAINS[0]} to {_DOMAINS[-1]} is in use")
