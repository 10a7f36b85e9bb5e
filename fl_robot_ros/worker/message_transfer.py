"""Messages to and from the SuperLink, in the objects that Flower makes of them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping

from flwr.app import Message
from flwr.app.message import remove_content_from_message
from flwr.common.serde import message_to_proto
from flwr.proto.fleet_pb2 import PushMessagesRequest, PushMessagesResponse
from flwr.proto.message_pb2 import (
    ConfirmMessageReceivedRequest,
    ConfirmMessageReceivedResponse,
    ObjectTree,
    PullObjectRequest,
    PullObjectResponse,
    PushObjectRequest,
    PushObjectResponse,
)
from flwr.proto.message_pb2 import Message as Envelope
from flwr.proto.node_pb2 import Node
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_utils import (
    ObjectPullError,
    ObjectPushError,
    ObjectUnavailableError,
    inflate_object_from_contents,
    pull_objects,
    push_objects,
)

from fl_robot_ros.errors import ProtocolError
from fl_robot_ros.worker.fleet_client import FleetClient

# The weights of the largest model that `learning.architecture` builds.
_MAX_MESSAGE_BYTES = 1 << 30
_MAX_OBJECTS = 10_000
_FIRST_PULL_RETRY_SEC, _MAX_PULL_RETRY_SEC = 0.05, 1.0

_logger = logging.getLogger(__name__)


def push_message(
    client: FleetClient, node: Node, message: Message, seconds: float, within_sec: float | None
) -> tuple[bool, bool]:
    """Announce a reply and send its objects.

    Args:
        client: Sends the requests.
        node: The sender.
        message: The reply.
        seconds: Time of the work.
        within_sec: Time for each request; None: as long as the server may be away.

    Returns:
        Whether the server wants objects, and whether it took them all.

    Raises:
        RequestRefusedError: The run is over, or the SuperLink was restarted.
        ServerUnreachableError: The server is gone.
    """
    run_id = message.metadata.run_id
    with no_object_id_recompute():
        tree = get_object_tree(message)
        objects = get_all_nested_objects(message)
        bare = remove_content_from_message(message) if message.has_content() else message
        response = client.call(
            "push-messages",
            PushMessagesRequest(
                node=node,
                messages_list=[message_to_proto(bare)],
                message_object_trees=[tree],
                clientapp_runtime_list=[seconds],
            ),
            PushMessagesResponse(),
            within_sec=within_sec,
        )
        wanted, session_id = set(response.objects_to_push), response.session_id
        if not wanted:
            return False, False

        def push_object(object_id: str, content: bytes) -> None:
            request = PushObjectRequest(
                node=node,
                run_id=run_id,
                object_id=object_id,
                object_content=content,
                session_id=session_id,
            )
            response = PushObjectResponse()
            if client.call("push-object", request, response, within_sec=within_sec).stored:
                return
            # It may have arrived, and the reply of the server been lost.
            if not find_object(client, node, run_id, object_id, within_sec)[1]:
                raise ObjectPushError(object_id, run_id, session_id)

        try:
            push_objects(objects, push_object, object_ids_to_push=wanted)
        except ObjectPushError as error:
            _logger.warning("the server refused a part of a reply: %s", error)
            return True, False
    return True, True


def pull_message(
    client: FleetClient,
    node: Node,
    envelope: Envelope,
    tree: ObjectTree,
    known: Mapping[str, bytes],
    timeout_sec: float,
) -> tuple[Message, dict[str, bytes]]:
    """Return a message, and the content of all of its objects by id.

    Args:
        client: Sends the requests.
        node: The receiver.
        envelope: The message without content.
        tree: The ids of its objects.
        known: Objects of the last message. They are named by the hash of their content, so that
            those which are the same, such as a global model, are not fetched again.
        timeout_sec: How long the server may take to upload the objects.

    Raises:
        RequestRefusedError: The run is over, or the SuperLink was restarted.
        ObjectPullError: An object is gone, or did not come.
        ServerUnreachableError: The server is gone.
        ProtocolError: The message cannot be read, or is too large.
    """
    run_id = int(envelope.metadata.run_id)
    object_ids = [part.object_id for part in iterate_object_tree(tree)]
    if len(object_ids) > _MAX_OBJECTS:
        raise ProtocolError(
            f"the server's message has {len(object_ids)} parts; at most {_MAX_OBJECTS} are read"
        )
    contents = {key: known[key] for key in object_ids if key in known}
    room = _Room(_MAX_MESSAGE_BYTES - sum(map(len, contents.values())))

    def pull_object(object_id: str) -> bytes:
        response = client.call(
            "pull-object",
            PullObjectRequest(node=node, run_id=run_id, object_id=object_id),
            PullObjectResponse(),
        )
        if not response.object_found:
            raise ObjectPullError(object_id, "the server deleted it")
        if not response.object_available:
            raise ObjectUnavailableError(object_id)
        room.take(len(response.object_content))
        return bytes(response.object_content)

    # The server sends a message before its objects.
    contents |= pull_objects(
        [key for key in object_ids if key not in contents],
        pull_object,
        max_time=timeout_sec,
        max_tries_per_object=None,
        initial_backoff=_FIRST_PULL_RETRY_SEC,
        backoff_cap=_MAX_PULL_RETRY_SEC,
    )
    client.call(
        "confirm-message-received",
        ConfirmMessageReceivedRequest(
            node=node, run_id=run_id, message_object_id=envelope.metadata.message_id
        ),
        ConfirmMessageReceivedResponse(),
    )
    try:
        message = inflate_object_from_contents(tree.object_id, contents, keep_object_contents=True)
    except Exception as error:  # Flower raises whatever the content makes Python raise
        raise ProtocolError(
            f"the server's message cannot be read: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(message, Message):
        raise ProtocolError(f"the server sent a {type(message).__name__}; expected a message")
    # A message does not carry its own id.
    message.metadata.__dict__["_message_id"] = tree.object_id
    return message, contents


def find_object(
    client: FleetClient, node: Node, run_id: int, object_id: str, within_sec: float | None = None
) -> tuple[bool, bool]:
    """Return whether the SuperLink knows an object, and whether it has its content.

    What the receiver of a message has read, the SuperLink deletes.

    Raises:
        RequestRefusedError: The run is over, or the SuperLink was restarted.
        ServerUnreachableError: The server is gone.
    """
    request = PullObjectRequest(node=node, run_id=run_id, object_id=object_id)
    response = client.call("pull-object", request, PullObjectResponse(), within_sec=within_sec)
    return bool(response.object_found), bool(response.object_available)


class _Room:
    """Counts the bytes of a message."""

    def __init__(self, num_bytes: int) -> None:
        self._left = num_bytes
        self._lock = threading.Lock()

    def take(self, num_bytes: int) -> None:
        with self._lock:
            self._left -= num_bytes
            if self._left < 0:
                raise ProtocolError(
                    f"the server's message is larger than {_MAX_MESSAGE_BYTES >> 20} MiB"
                )
