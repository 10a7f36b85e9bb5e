"""Checks of the way to the server: its name, its port, its certificate, and this robot's key."""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from fl_robot_ros.config import ClientSettings, expand_path, is_loopback, resolve_server_address
from fl_robot_ros.data_source import SourceKind
from fl_robot_ros.doctor.child_process import last_line, run_child
from fl_robot_ros.doctor.finding import Check, Finding, Level, ok, problem, split, warning
from fl_robot_ros.errors import FlRobotError, IdentityError, SettingError
from fl_robot_ros.identity.enrolment import Enrolment
from fl_robot_ros.robot.worker_process import module_environment
from fl_robot_ros.robot.worker_python import WorkerPython

SECTION = "server"
_MODULE = "fl_robot_ros.worker.server_check"
_CONNECT_SEC = 5.0
# First contact waits up to 10 s for each of handshake and reply, and asks again to name a fault.
_ASK_SEC = 45.0
# What a server says while this robot's own worker is connected.
_IN_A_RUN = "is connected already"


class Server(NamedTuple):
    """Where the server is.

    Attributes:
        address: host:port.
        is_default: Whether nobody named it.
    """

    address: str
    is_default: bool

    @property
    def host(self) -> str:
        """Its name or address, IPv6 without brackets."""
        return self.address.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """Its TCP port."""
        return int(self.address.rpartition(":")[2])


def checks(settings: ClientSettings, address: str) -> list[Check]:
    """Return the checks of the server.

    Args:
        settings: Settings of `fl_client`.
        address: host:port from the command line; "" for that of the settings.

    Raises:
        SettingError: `address` is no host:port.
    """
    try:
        server = find_server(settings, address, os.environ)
    except SettingError:
        if address:
            raise
        return []  # Told among the parameters.
    reached: list[Finding] = []

    def connect() -> list[Finding]:
        reached.extend(check_connection(server))
        return reached

    def ask() -> Iterable[Finding]:
        is_there = any(found.level == Level.OK for found in reached)
        return check_admission(server, settings) if is_there else []

    return [
        Check(SECTION, "connection", connect, 3 * _CONNECT_SEC),
        Check(SECTION, "admission", ask, _ASK_SEC + 5.0),
    ]


def find_server(settings: ClientSettings, address: str, environment: Mapping[str, str]) -> Server:
    """Return the server as `fl_client` would find it.

    Raises:
        SettingError: The address is no host:port.
    """
    enrolled = ""
    if settings.enrolment:
        try:
            enrolled = Enrolment.load(expand_path(settings.enrolment)).server_address
        except IdentityError:
            pass  # Told among the parameters.
    named = address or settings.server_address
    found = resolve_server_address(named, environment, enrolled)
    variables = environment.get("SERVER_IP") or environment.get("SERVER_PORT")
    return Server(found, not (named or enrolled or variables))


def check_connection(server: Server) -> Iterator[Finding]:
    """Find out whether the server's name is known, and whether something listens there."""
    address = server.address
    try:
        addresses = {
            str(one[4][0])
            for one in socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
        }
    except (OSError, UnicodeError) as error:
        yield problem(
            f"the name server does not know {server.host}: "
            f"{getattr(error, 'strerror', '') or error}",
            "correct the name, look into /etc/resolv.conf, or use the server's address",
        )
        return
    try:
        socket.create_connection((server.host, server.port), _CONNECT_SEC).close()
    except ConnectionRefusedError:
        if server.is_default:
            yield warning(
                f"nobody names a server, and nothing listens on the default {address}",
                "set enrolment or server_address, or see --server",
            )
        else:
            place = "" if is_loopback(server.host) else " --host 0.0.0.0"
            yield problem(
                f"nothing listens on {address}: the connection was refused",
                f"start fl_server{place} there, or correct the port",
            )
    except TimeoutError:
        yield problem(
            f"no reply from {address} in {_CONNECT_SEC:g} s",
            f"let TCP port {server.port} through the firewalls, or correct the address",
        )
    except OSError as error:
        yield problem(
            f"{address} cannot be reached: {error.strerror or error}",
            "look at this robot's network: ip route",
        )
    else:
        where = "" if addresses == {server.host} else f" ({', '.join(sorted(addresses)[:2])})"
        yield ok(f"something listens on {address}{where}")


def check_admission(server: Server, settings: ClientSettings) -> Iterator[Finding]:
    """Ask a server that listens, as a worker does, whether this robot may join.

    Raises:
        OSError: No process can be started.
        subprocess.TimeoutExpired: The server does not end its reply.
    """
    request = {
        "address": server.address,
        "root_certificates": _full(settings.root_certificates),
        "enrolment": _full(settings.enrolment),
    }
    python = _python(settings)
    with tempfile.TemporaryDirectory(prefix="fl_doctor") as folder:
        done = run_child(
            [str(python), "-m", _MODULE],
            _ASK_SEC,
            module_environment(python, Path(folder)),
            json.dumps(request) + "\n",
        )
    try:
        said = json.loads(done.stdout)
        line, note = str(said["problem"]), str(said["note"])
    except (ValueError, LookupError, TypeError):
        yield problem(f"{python} cannot ask the server: {last_line(done)}", "see 'packages' above")
        return
    if _IN_A_RUN in line:
        yield warning(line, "none while this robot is in a run; else it has another's enrolment")
    elif line:
        yield split(Level.PROBLEM, line)
    else:
        tls = "" if settings.root_certificates else " over plain HTTP"
        which = "the fleet's server" if settings.enrolment else f"an fl_server{tls}"
        note = f"; {note}" if note else ""
        yield ok(f"{server.address} is {which}, and takes this robot{note}")


def _python(settings: ClientSettings) -> Path:
    """Return a Python that may have the package cryptography, which a robot's own often lacks."""
    try:
        python = WorkerPython(settings.worker_python, SourceKind.CAPTURE)
    except FlRobotError:
        return Path(sys.executable)
    return Path(sys.executable) if python.check() else python.path


def _full(path: str) -> str:
    return str(expand_path(path)) if path else ""
