"""Asks a server what a worker would, in a process of its own, for `fl_doctor`.

`python -m fl_robot_ros.worker.server_check` reads one line, a JSON object with `address`,
`root_certificates` and `enrolment` as in a worker's job, and prints one: `problem`, "" where this
robot may take part in a run, and `note`, what there is to say beside.
"""

from __future__ import annotations

import http.client
import json
import sys
from pathlib import Path

from fl_robot_ros.dependency import describe_unimportable
from fl_robot_ros.errors import FlRobotError, NoRunError, ServerUnreachableError
from fl_robot_ros.identity.enrolment import Enrolment
from fl_robot_ros.worker.first_contact import introduce, limited, read_certificates

# What `cloud.fleet_api` replies to a request that is no robot's.
GREETING = "this server talks with robots of its fleet only"
_REPLY_SEC = 5.0


def check_server(address: str, root_certificates: str, enrolment: str) -> str:
    """Ask whether this robot may join; a server that it may not join says why.

    A server without a run now would take it in the next.

    Args:
        address: host:port.
        root_certificates: A PEM file; "" for that of the enrolment.
        enrolment: The file of the robot's enrolment, "" for none.

    Returns:
        When the server's next run begins, "" for now.

    Raises:
        ServerUnreachableError: The server cannot be trusted, is none, or refuses this robot.
        IdentityError: The enrolment cannot be used.
    """
    member = Enrolment.load(Path(enrolment)) if enrolment else None
    certificates = read_certificates(root_certificates, member)
    note = ""
    try:
        introduce(address, certificates, member, 0.0)
    except NoRunError as error:
        note = str(error)
    # Only an fl_server admits an enrolled robot; without TLS anything may have replied.
    if not certificates and not _greets(address):
        raise ServerUnreachableError(
            f"what listens at {address} is no fl_server; correct the host and the port"
        )
    return note


def _greets(address: str) -> bool:
    """Return whether the reply to a request of nobody is that of an fl_server."""
    host, _, port = address.rpartition(":")
    client = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=_REPLY_SEC)
    try:
        client.connect()
        with limited(client.sock, _REPLY_SEC):
            client.request("GET", "/")
            return GREETING in client.getresponse().read(len(GREETING)).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        return False
    finally:
        client.close()


def main() -> int:
    """Run the check; return 0 whatever it says."""
    problem = note = ""
    try:
        note = check_server(**json.loads(sys.stdin.readline()))
    except FlRobotError as error:
        problem = str(error)
    except ImportError as error:
        problem = f"the robot's key could not be tried: {describe_unimportable(error)}"
    print(json.dumps({"problem": problem, "note": note}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
