"""The robot's connection to the SuperLink's Fleet API.

`flower-supernode` starts a new Python process for each message and sleeps 3 s between polls. This
connection uses the same protocol and code, and leaves process and pace to its caller. Flower's
private modules are used here and in `federation.object_pulls` alone.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import httpx
from flwr.app import Message
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_utils import (
    ObjectPullError,
    ObjectPushError,
    inflate_object_from_contents,
    pull_objects,
    push_objects,
)
from flwr.supercore.run import RunNotRunningException
from flwr.supernode.fleet_http_connection import http_request_response

from fl_robot_ros.errors import ServerUnreachableError
from fl_robot_ros.federation.object_pulls import pull_sooner
from fl_robot_ros.identity.enrolment import Enrolment
from fl_robot_ros.worker.first_contact import refusal_in
from fl_robot_ros.worker.reachability import wait_for_listener
from fl_robot_ros.worker.robot_key import robot_key

_GONE_SEC = 0.5
_REPLY_SEC = 10.0
_ANNOUNCEMENTS = 3

_logger = logging.getLogger(__name__)


@dataclass
class FleetConnection:
    """An open connection of one robot.

    Attributes:
        server_address: host:port of the SuperLink.
        node_id: Flower's number of this connection.
    """

    server_address: str
    node_id: int
    _receive: Callable[[], Any]
    _send: Callable[..., tuple[set[str], str]]
    _get_run: Callable[[int], Any]
    _pull_object: Callable[[int, str], bytes]
    _push_object: Callable[[int, str, str, bytes], None]
    _confirm: Callable[[int, str], None]
    _objects: dict[str, bytes] = field(default_factory=dict)

    def receive(self) -> Message | None:
        """Return the next message for this robot, None if there is none now.

        Raises:
            ServerUnreachableError: The server is gone, or replies with an error.
        """
        try:
            received = self._receive()
            if received is None:
                return None
            envelope, tree = received
            run_id = envelope.metadata.run_id
            object_ids = [node.object_id for node in iterate_object_tree(tree)]
            # Objects are named by the hash of their content. Those of the last message, such as
            # the global model that was just evaluated, are not fetched again.
            contents = {key: self._objects[key] for key in object_ids if key in self._objects}
            contents |= pull_objects(
                [key for key in object_ids if key not in contents],
                pull_object_fn=partial(self._pull_object, run_id),
            )
            self._objects = contents
            self._confirm(run_id, envelope.metadata.message_id)
        except RunNotRunningException:
            return None  # the run ended before its message arrived
        except (httpx.HTTPError, ObjectPullError) as error:
            raise self._lost(error) from error
        message = cast(
            Message,
            inflate_object_from_contents(tree.object_id, contents, keep_object_contents=True),
        )
        # A message does not carry its own id.
        message.metadata.__dict__["_message_id"] = tree.object_id
        return message

    def send(self, message: Message, seconds: float) -> None:
        """Send a reply; a reply that the server refuses again and again is dropped.

        A SuperLink that restarts between the announcement of a reply and its objects knows the
        announcement no longer, and refuses the objects until the next announcement.

        Args:
            message: A reply to a message from `receive`.
            seconds: Time of the work.

        Raises:
            ServerUnreachableError: The server is gone, or replies with an error.
        """
        message.metadata.__dict__["_message_id"] = message.object_id
        try:
            for _ in range(_ANNOUNCEMENTS):
                if self._push(message, seconds):
                    return
            _logger.warning("the server refused a reply %d times; it is dropped", _ANNOUNCEMENTS)
        except RunNotRunningException:
            _logger.warning("a reply came too late: its run has ended")
        except httpx.HTTPError as error:
            raise self._lost(error) from error

    def _push(self, message: Message, seconds: float) -> bool:
        """Announce a reply and send its objects; return whether the server took them."""
        with no_object_id_recompute():
            tree = get_object_tree(message)
            objects = get_all_nested_objects(message)
            wanted, session_id = self._send(message, tree, seconds)
            push_object = partial(self._push_object, message.metadata.run_id, session_id)
            try:
                push_objects(objects, push_object, object_ids_to_push=wanted)
            except ObjectPushError as error:
                _logger.warning("the server refused a reply: %s", error)
                return False
        return True

    def run_ended(self, run_id: int) -> bool:
        """Return whether a run is over, or the server is gone; takes some seconds at most."""
        over: list[bool] = []

        def ask() -> None:
            try:
                over.append(bool(self._get_run(run_id).finished_at))
            except (RunNotRunningException, httpx.HTTPError):
                over.append(True)

        try:
            wait_for_listener(self.server_address, _GONE_SEC)
        except ServerUnreachableError:
            return True
        # Flower repeats a request for long, also where the server ends at this moment.
        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        thread.join(_REPLY_SEC)
        return over[0] if over else True

    def _lost(self, error: Exception) -> ServerUnreachableError:
        reason = str(error) or type(error).__name__
        if isinstance(error, httpx.HTTPStatusError):
            reason = refusal_in(error.response.text) or reason
        return ServerUnreachableError(f"lost the server at {self.server_address}: {reason}")


@contextmanager
def connect(
    server_address: str,
    *,
    certificates: str,
    enrolment: Enrolment | None,
    server_timeout_sec: float,
) -> Iterator[FleetConnection]:
    """Connect to a SuperLink, and disconnect at the end.

    Args:
        server_address: host:port of the SuperLink.
        certificates: The server's certificate authority, PEM; "" for plain HTTP.
        enrolment: The robot's enrolment; None: the robot registers itself under a new key.
        server_timeout_sec: How long to retry a request while the server is away.

    Raises:
        ServerUnreachableError: The server is not a SuperLink, or refuses this robot.
        IdentityError: The enrolment's key is damaged.
    """
    pull_sooner()
    key = robot_key(enrolment) if enrolment else None
    last_error = _LastError()
    flower_log = logging.getLogger("flwr")
    flower_log.addHandler(last_error)
    entered = False
    try:
        with http_request_response(
            server_address,
            insecure=not certificates,
            root_certificates=certificates.encode() or None,
            authentication_keys=(key, key.public_key()) if key else None,
            max_wait_time=server_timeout_sec,
        ) as (node_id, receive, send, get_run, _get_fab, pull_object, push_object, confirm):
            entered = True
            yield FleetConnection(
                server_address, node_id, receive, send, get_run, pull_object, push_object, confirm
            )
    except SystemExit as error:
        # Flower exits when it cannot register.
        if entered:
            raise
        raise ServerUnreachableError(
            f"the server at {server_address} does not accept this robot: {last_error.text}"
        ) from error
    except OSError as error:
        if entered:
            raise
        raise ServerUnreachableError(f"cannot use the certificates: {error}") from error
    finally:
        flower_log.removeHandler(last_error)


class _LastError(logging.Handler):
    """Keeps Flower's last logged error, as one line."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.text = "no reason given"

    def emit(self, record: logging.LogRecord) -> None:
        lines = [line.strip() for line in record.getMessage().splitlines()]
        self.text = " ".join(line for line in lines if line)[:300]
