"""The robot's connection to the SuperLink's Fleet API.

`flower-supernode` starts a new Python process for each message, sleeps 3 s between polls, and
ends when the SuperLink no longer knows it. This connection speaks the same protocol, leaves
process and pace to its caller, and registers anew after a restart of the SuperLink. Private
modules of Flower are used in this room, in `cloud` and in `federation.object_pulls` alone.
"""

from __future__ import annotations

import logging
import random
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from flwr.app import Error, Message
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    ActivateNodeResponse,
    DeactivateNodeRequest,
    DeactivateNodeResponse,
    PullMessagesRequest,
    PullMessagesResponse,
    RegisterNodeFleetRequest,
    RegisterNodeFleetResponse,
    UnregisterNodeFleetRequest,
    UnregisterNodeFleetResponse,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest, SendNodeHeartbeatResponse
from flwr.proto.node_pb2 import Node
from flwr.supercore.inflatable.inflatable_utils import ObjectPullError
from flwr.supercore.primitives.asymmetric import generate_key_pairs

from fl_robot_ros.errors import RequestRefusedError, ServerUnreachableError
from fl_robot_ros.identity.enrolment import Enrolment
from fl_robot_ros.one_line import one_line
from fl_robot_ros.worker.fleet_client import FleetClient
from fl_robot_ros.worker.message_transfer import find_object, pull_message, push_message
from fl_robot_ros.worker.robot_key import robot_key

_UNKNOWN_NODE, _RUN_IS_OVER, _KEY_IS_KNOWN = 401, 403, 412
_ANNOUNCEMENTS = 3
# A robot that is silent for twice this time counts as gone.
_HEARTBEAT_INTERVAL_SEC = 20.0
_HEARTBEAT_RETRY_SEC = 2.0
_HEARTBEAT_REPLY_SEC = 5.0
_READ_POLL_SEC, _MAX_READ_POLL_SEC = 0.05, 1.0
_SETTLED_SEC = 5.0
_SIGN_OFF_SEC = 1.0

_logger = logging.getLogger(__name__)


class FleetConnection:
    """An open connection of one robot."""

    def __init__(
        self, client: FleetClient, *, registers_itself: bool, server_timeout_sec: float
    ) -> None:
        """Register at the SuperLink, and begin to send heartbeats.

        Args:
            client: Sends the requests.
            registers_itself: Whether the robot's key is one of this connection alone.
            server_timeout_sec: How long to wait for the parts of a message.

        Raises:
            ServerUnreachableError: The server is not there, or refuses this robot.
        """
        self._client = client
        self._registers_itself = registers_itself
        self._server_timeout_sec = server_timeout_sec
        self._objects: dict[str, bytes] = {}
        self._unanswered: Message | None = None
        self._closed = threading.Event()
        self._registration = threading.Lock()
        self._node = self._register()
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()

    @property
    def node_id(self) -> int:
        """Flower's number of this connection; another one after a restart of the SuperLink."""
        return int(self._node.node_id)

    def receive(self) -> Message | None:
        """Return the next message for this robot, None if there is none now.

        Raises:
            ServerUnreachableError: The server is gone, or refuses this robot.
            ProtocolError: The message cannot be read, or is too large.
        """
        node = self._node
        try:
            response = self._client.call(
                "pull-messages", PullMessagesRequest(node=node), PullMessagesResponse()
            )
        except RequestRefusedError as error:
            if error.status != _UNKNOWN_NODE:
                raise ServerUnreachableError(str(error)) from error
            self._register_anew(node)
            return None
        if not response.messages_list or not response.message_object_trees:
            return None
        try:
            message, self._objects = pull_message(
                self._client,
                node,
                response.messages_list[0],
                response.message_object_trees[0],
                self._objects,
                self._server_timeout_sec,
            )
        except RequestRefusedError as error:
            _logger.warning("a request was withdrawn before it was read: %s", error)
            return None
        except ObjectPullError as error:
            _logger.warning("a request is incomplete, and left out: %s", error)
            return None
        self._unanswered = message
        return message

    def send(self, message: Message, seconds: float, *, within_sec: float | None = None) -> str:
        """Send a reply; return why the server did not take it, "" if it did.

        A SuperLink that restarts between the announcement of a reply and its objects knows the
        announcement no longer, and refuses the objects until the next announcement. Whatever
        the server does not want any more is dropped.

        Args:
            message: A reply to a message from `receive`.
            seconds: Time of the work.
            within_sec: Time for all of it; None: as long as the server may be away.

        Raises:
            ServerUnreachableError: The server is gone.
        """
        node = self._node
        message.metadata.__dict__["_message_id"] = message.object_id
        self._unanswered = None
        reason = f"the server refused its parts {_ANNOUNCEMENTS} times"
        try:
            for attempt in range(_ANNOUNCEMENTS):
                is_wanted, is_taken = push_message(
                    self._client, node, message, seconds, within_sec
                )
                if is_taken:
                    return ""
                if not is_wanted:
                    # Once its parts were refused, the server may have all of it and have read it.
                    if attempt and not self._is_known(node, message, within_sec):
                        return ""
                    reason = "the server does not want it any more"
                    break
        except RequestRefusedError as error:
            if error.status == _UNKNOWN_NODE:
                self._register_anew(node)
                reason = "the server was restarted meanwhile"
            elif error.status == _RUN_IS_OVER:
                reason = "its run has ended"
            else:
                raise ServerUnreachableError(str(error)) from error
        _logger.warning("a reply is dropped: %s", reason)
        return reason

    def is_settled(self, reply: Message, within_sec: float = _SETTLED_SEC) -> bool:
        """Return whether the server has read a reply, or never will.

        Flower drops the reply of a robot that disconnects. What the server has read, it deletes.

        Args:
            reply: A reply that the server took.
            within_sec: Time for the question; a server that does not reply by then is gone.
        """
        try:
            return not self._is_known(self._node, reply, within_sec)
        except (RequestRefusedError, ServerUnreachableError):
            return True  # the run is over, or the server

    def wait_until_settled(self, reply: Message, within_sec: float) -> None:
        """Wait until the server has read a reply, or never will.

        Args:
            reply: A reply that the server took.
            within_sec: How long to wait.
        """
        end = time.monotonic() + within_sec
        pause_sec = _READ_POLL_SEC
        while not self.is_settled(reply) and time.monotonic() + pause_sec < end:
            time.sleep(pause_sec)
            pause_sec = min(1.5 * pause_sec, _MAX_READ_POLL_SEC)

    def leave(self, reason: str, within_sec: float) -> None:
        """Tell the server why this robot leaves, and sign off; from any thread.

        Args:
            reason: One line, for the request that the robot has not replied to.
            within_sec: How long it may take.
        """
        end = time.monotonic() + within_sec
        request = self._unanswered
        if request is not None:
            reply = error_reply(request, reason)
            try:
                if not self.send(reply, 0.0, within_sec=within_sec / 2):
                    left_sec = end - time.monotonic() - within_sec / 4
                    self.wait_until_settled(reply, left_sec)
            except ServerUnreachableError as error:
                _logger.info("the server does not hear why this robot leaves: %s", error)
        self._sign_off(max(within_sec / 4, end - time.monotonic()))

    def close(self) -> None:
        """Sign off."""
        self._sign_off(_SIGN_OFF_SEC)

    def _is_known(self, node: Node, reply: Message, within_sec: float | None) -> bool:
        """Return whether the SuperLink holds a reply, complete or not."""
        metadata = reply.metadata
        return find_object(self._client, node, metadata.run_id, metadata.message_id, within_sec)[0]

    def _register(self) -> Node:
        """Return this robot's node.

        Raises:
            ServerUnreachableError: The server is not there, or refuses this robot.
        """
        key = self._client.public_key
        try:
            if self._registers_itself:
                try:
                    self._client.call(
                        "register-node",
                        RegisterNodeFleetRequest(public_key=key),
                        RegisterNodeFleetResponse(),
                    )
                except RequestRefusedError as error:
                    if error.status != _KEY_IS_KNOWN:
                        raise
            response = self._client.call(
                "activate-node",
                ActivateNodeRequest(public_key=key, heartbeat_interval=_HEARTBEAT_INTERVAL_SEC),
                ActivateNodeResponse(),
            )
        except RequestRefusedError as error:
            raise ServerUnreachableError(f"this robot cannot take part: {error}") from error
        return Node(node_id=response.node_id)

    def _register_anew(self, unknown: Node) -> None:
        """Register after a restart of the SuperLink, which knows this node no longer."""
        with self._registration:
            if self._node.node_id != unknown.node_id or self._closed.is_set():
                return  # done by another thread
            self._node = self._register()
        _logger.warning("the server was restarted; this robot is registered anew")

    def _beat(self) -> None:
        """Send heartbeats until the end."""
        pause_sec = 0.0
        while not self._closed.wait(pause_sec):
            node = self._node
            request = SendNodeHeartbeatRequest(
                node=node, heartbeat_interval=_HEARTBEAT_INTERVAL_SEC
            )
            pause_sec = _HEARTBEAT_INTERVAL_SEC * random.uniform(0.6, 0.8)
            try:
                is_known = self._client.call(
                    "send-node-heartbeat",
                    request,
                    SendNodeHeartbeatResponse(),
                    within_sec=_HEARTBEAT_REPLY_SEC,
                ).success
            except RequestRefusedError as error:
                is_known = error.status != _UNKNOWN_NODE
            except ServerUnreachableError:
                is_known, pause_sec = True, _HEARTBEAT_RETRY_SEC
            if not is_known:
                try:
                    self._register_anew(node)
                except ServerUnreachableError as error:
                    _logger.warning("%s", error)
                    pause_sec = _HEARTBEAT_RETRY_SEC

    def _sign_off(self, within_sec: float) -> None:
        if self._closed.is_set():
            return
        self._closed.set()
        try:
            self._client.call(
                "deactivate-node",
                DeactivateNodeRequest(node_id=self.node_id),
                DeactivateNodeResponse(),
                within_sec=within_sec / 2,
            )
            if self._registers_itself:
                self._client.call(
                    "unregister-node",
                    UnregisterNodeFleetRequest(node_id=self.node_id),
                    UnregisterNodeFleetResponse(),
                    within_sec=within_sec / 2,
                )
        except (RequestRefusedError, ServerUnreachableError) as error:
            _logger.info("this robot did not sign off: %s", error)


def error_reply(request: Message, reason: str) -> Message:
    """Return a reply that tells the server why there is no other one."""
    return Message(Error(code=0, reason=one_line(reason)), reply_to=request)


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
        server_timeout_sec: How long to repeat a request while the server is away.

    Raises:
        ServerUnreachableError: The server is not a SuperLink, or refuses this robot.
        IdentityError: The enrolment's key is damaged.
    """
    key = robot_key(enrolment) if enrolment else None
    client = FleetClient(
        server_address,
        keys=(key, key.public_key()) if key else generate_key_pairs(),
        tls=_trust(certificates) if certificates else None,
        server_timeout_sec=server_timeout_sec,
    )
    try:
        connection = FleetConnection(
            client, registers_itself=key is None, server_timeout_sec=server_timeout_sec
        )
        try:
            yield connection
        finally:
            connection.close()
    finally:
        client.close()


def _trust(certificates: str) -> ssl.SSLContext:
    """Return a TLS context that trusts certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=certificates)
    except (OSError, ValueError) as error:
        raise ServerUnreachableError(f"cannot use the certificates: {error}") from error
    return context
