"""Admission of enrolled robots at the server's gate.

A robot's requests carry its public key and a signed timestamp, as in Flower's node authentication.
The gate lets a key in that is on the operator's list. The SuperLink checks the signature of each
request, and that it speaks for the node of that key; here a connection's first one is checked, so
that nobody gets further with somebody else's public key.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from weakref import WeakSet

import httpx
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from flwr.common.constant import (
    SYSTEM_TIME_TOLERANCE,
    TIMESTAMP_HEADER,
    TIMESTAMP_TOLERANCE,
)
from flwr.proto.fleet_pb2 import (
    DeactivateNodeRequest,
    RegisterNodeFleetRequest,
    RegisterNodeFleetResponse,
)
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from fl_robot_ros.cloud.refusal_log import RefusalLog
from fl_robot_ros.errors import IdentityError
from fl_robot_ros.identity.enrolment import PROCESS_HEADER
from fl_robot_ros.identity.robot_list import EnrolledRobot, RobotList

REGISTER, ACTIVATE = "/v1/fleet/register-node", "/v1/fleet/activate-node"
DEACTIVATE, UNREGISTER = "/v1/fleet/deactivate-node", "/v1/fleet/unregister-node"
# A robot sends a heartbeat every 20 s or so.
_ALIVE_SEC = 45.0
# Robots end at a 401, and take a 403 for the end of the run.
_NOT_ADMITTED, _CONFLICT = 401, 409
_OWN_HEADERS = ("content-type", "accept", "flwr-")


class Peer:
    """One connection of a client, in the state of its requests.

    Attributes:
        is_open: Whether the connection is open.
        key: The public key whose owner the client proved to be; empty before.
        process: Which process of the robot it is; "" where it does not say.
        heard_at: When a request of that robot came last, in s; None if it only asked who it is.
    """

    def __init__(self) -> None:
        """Begin with a client that nobody knows."""
        self.is_open = True
        self.key = b""
        self.process = ""
        self.heard_at: float | None = None


class Admission:
    """Lets enrolled robots in, each of them once. Lives in the gate's thread."""

    def __init__(
        self,
        robots_file: Path,
        refusals: RefusalLog,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read the list of robots.

        Args:
            robots_file: The list of enrolled robots, read again when it changes.
            refusals: Tells the operator.
            clock: Returns a time in s.

        Raises:
            IdentityError: The list cannot be read.
        """
        self._file = robots_file
        self._refusals = refusals
        self._clock = clock
        self._robots = RobotList.load(robots_file)
        self._version = _version(robots_file)
        self._peers: defaultdict[bytes, WeakSet[Peer]] = defaultdict(WeakSet)
        self._activations: defaultdict[bytes, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._node_ids: dict[bytes, int] = {}
        self._active: dict[bytes, str] = {}

    async def reply(self, request: Request, superlink: httpx.AsyncClient) -> Response | None:
        """Return the gate's own reply to a request; None where it may pass to the SuperLink.

        Args:
            request: A request of the Fleet API, whose state has the `peer`.
            superlink: The way to the SuperLink.
        """
        peer: Peer = request.state.peer
        path = request.scope["path"]
        address = request.client.host if request.client else "a client"
        key = b""
        try:
            key = _decoded(request.headers, FLEET_HTTP_PUBLIC_KEY_HEADER)
            robot = self._enrolled(key)
            if robot is None:
                return self._refuse(
                    address,
                    "unknown" if key else "no key",
                    "this server knows enrolled robots alone, and not this one; enrol it with "
                    "'fl_keys robot NAME', and set enrolment on the robot",
                )
            if robot.revoked:
                with suppress(httpx.HTTPError):
                    await self._sign_off(key, request.headers, superlink)
                self._node_ids.pop(key, None)
                return self._refuse(
                    robot.name,
                    "revoked",
                    f"robot {robot.name} was revoked at {robot.revoked}; enrol it anew with "
                    f"'fl_keys robot {robot.name}' if it may come back",
                )
            _check_clock(request.headers)
            if peer.key != key:
                _check_signature(request.headers, key)
                peer.key = key
                peer.process = request.headers.get(PROCESS_HEADER, "")
        except IdentityError as error:
            known = self._robots.by_key(key)
            return self._refuse(known.name if known else address, "invalid", str(error))
        if path in (REGISTER, UNREGISTER):
            # Enrolled robots are registered below. Theirs is the question whether they may join.
            return self._occupied(robot, peer, address) or Response(status_code=204)
        if path == ACTIVATE:
            async with self._activations[key]:
                is_new = await self._register(key, request.headers, superlink)
                # The other connections of a robot that meets a new SuperLink are its own.
                occupied = None if is_new else self._occupied(robot, peer, address)
                if occupied is not None:
                    return occupied
                await self._sign_off(key, request.headers, superlink)
                self._active[key] = peer.process
                self._peers[key].add(peer)
                peer.heard_at = self._clock()
            return None
        if self._active.get(key, peer.process) != peer.process:
            # Its connection was cut for long, and it was taken for dead.
            return self._refuse(
                robot.name,
                "replaced",
                f"another robot with the enrolment of {robot.name} took its place; each robot "
                "needs an enrolment of its own",
                status=_CONFLICT,
                place=f" at {address}",
            )
        self._peers[key].add(peer)
        peer.heard_at = self._clock()
        if path == DEACTIVATE:
            del self._peers[key]
        return None

    def _enrolled(self, key: bytes) -> EnrolledRobot | None:
        """Return the robot with a key, from the list as it is now."""
        version = _version(self._file)
        if version != self._version:
            self._version = version
            try:
                self._robots = RobotList.load(self._file)
            except IdentityError as error:
                self._refusals.add("the new list of robots", "", f"{error}; the old one holds")
        return self._robots.by_key(key)

    def _occupied(self, robot: EnrolledRobot, peer: Peer, address: str) -> Response | None:
        """Return a refusal while another robot uses the same enrolment."""
        now = self._clock()
        others = [
            one.heard_at
            for one in self._peers[peer.key]
            if one is not peer
            and one.is_open
            and one.heard_at is not None
            and not (peer.process and one.process == peer.process)
        ]
        if not others or now - max(others) > _ALIVE_SEC:
            return None
        return self._refuse(
            robot.name,
            "second",
            f"a robot with the enrolment of {robot.name} is connected already, heard of "
            f"{now - max(others):.0f} s ago; each robot needs an enrolment of its own",
            status=_CONFLICT,
            place=f" at {address}",
        )

    async def _register(
        self, key: bytes, headers: Mapping[str, str], superlink: httpx.AsyncClient
    ) -> bool:
        """Make a robot known to the SuperLink; return whether it was not."""
        content = RegisterNodeFleetRequest(public_key=key).SerializeToString()
        reply = await superlink.post(REGISTER, headers=_without_body(headers), content=content)
        if reply.status_code != httpx.codes.OK:
            return False  # known already
        self._node_ids[key] = RegisterNodeFleetResponse.FromString(reply.content).node_id
        return True

    async def _sign_off(
        self, key: bytes, headers: Mapping[str, str], superlink: httpx.AsyncClient
    ) -> None:
        """End what a robot left open in the SuperLink, which activates nobody twice."""
        node_id = self._node_ids.get(key)
        if node_id is not None:
            content = DeactivateNodeRequest(node_id=node_id).SerializeToString()
            await superlink.post(DEACTIVATE, headers=_without_body(headers), content=content)

    def _refuse(
        self, who: str, kind: str, reason: str, status: int = _NOT_ADMITTED, place: str = ""
    ) -> Response:
        """Return a refusal in the form in which Flower's own robots show the reason."""
        self._refusals.add(f"{who}{place}", kind, reason)
        return JSONResponse({"code": status, "detail": reason}, status)


def _version(file: Path) -> tuple[int, int, int] | None:
    """Return what changes with a file's content; None without the file."""
    try:
        state = file.stat()
    except OSError:
        return None
    return state.st_mtime_ns, state.st_ino, state.st_size


def _decoded(headers: Mapping[str, str], name: str) -> bytes:
    """Return a header of binary content; empty without one.

    Raises:
        IdentityError: It is not Base64.
    """
    try:
        return base64.b64decode(headers.get(name, ""), validate=True)
    except ValueError as error:
        raise IdentityError(f"the header {name} is not Base64") from error


def _check_clock(headers: Mapping[str, str]) -> None:
    """Check the time of a request as the SuperLink does.

    Raises:
        IdentityError: The robot's clock is not the server's.
    """
    text = headers.get(TIMESTAMP_HEADER, "")
    try:
        signed_at = datetime.fromisoformat(text)
        age_sec = (datetime.now(UTC) - signed_at).total_seconds()
    except (ValueError, TypeError) as error:
        raise IdentityError(f"the header {TIMESTAMP_HEADER} is no time") from error
    if not -SYSTEM_TIME_TOLERANCE < age_sec < TIMESTAMP_TOLERANCE + SYSTEM_TIME_TOLERANCE:
        side = "behind" if age_sec > 0 else "ahead of"
        raise IdentityError(
            f"the robot's clock is {abs(age_sec):.0f} s {side} the server's, which says "
            f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC; at most {SYSTEM_TIME_TOLERANCE} s ahead "
            f"or {TIMESTAMP_TOLERANCE} s behind will do: set both clocks right"
        )


def _check_signature(headers: Mapping[str, str], key: bytes) -> None:
    """Check that a request was signed with the private key to a public one.

    Raises:
        IdentityError: It was not.
    """
    public_key = load_pem_public_key(key)
    try:
        if not isinstance(public_key, ec.EllipticCurvePublicKey):
            raise IdentityError("its key is of another kind than Flower's")
        public_key.verify(
            _decoded(headers, FLEET_HTTP_SIGNATURE_HEADER),
            headers[TIMESTAMP_HEADER].encode(),
            ec.ECDSA(hashes.SHA256()),
        )
    except InvalidSignature as error:
        raise IdentityError(
            "its signature is false: it has the public key of this robot, and not the private one"
        ) from error


def _without_body(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of a robot's request, for another one in its name."""
    return {name: value for name, value in headers.items() if name.startswith(_OWN_HEADERS)}
