"""Objects that many robots fetch, such as the global model, kept in the gate.

Flower names an object by the hash of its content, and fetches each by a request of its own.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from flwr.proto.message_pb2 import PullObjectRequest, PullObjectResponse
from google.protobuf.message import DecodeError

_MAX_BYTES = 128 << 20
# A message is for one robot alone, and its sender asks for it until the SuperLink has none.
_MESSAGE = b"Message "

Key = tuple[int, str]


class ObjectCache:
    """The objects that were fetched last, at most 128 MiB. Belongs to one thread."""

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._replies: OrderedDict[Key, bytes] = OrderedDict()
        self._size = 0
        self._fetching: dict[Key, asyncio.Event] = {}

    @staticmethod
    def key(request: bytes) -> Key | None:
        """Return the run and the name of the object that a request asks for, None for no request.

        Args:
            request: The body of a PullObject request.
        """
        try:
            parsed = PullObjectRequest.FromString(request)
        except DecodeError:
            return None
        return parsed.run_id, parsed.object_id

    async def get(self, key: Key) -> bytes | None:
        """Return the reply for an object; None means that the caller fetches it, and says `put`.

        A second request for an object that is being fetched waits for the first one.
        """
        while key not in self._replies:
            fetching = self._fetching.get(key)
            if fetching is None:
                self._fetching[key] = asyncio.Event()
                return None
            await fetching.wait()
        self._replies.move_to_end(key)
        return self._replies[key]

    def put(self, key: Key, reply: bytes | None) -> None:
        """Take the reply that was fetched; None after an error."""
        self._fetching.pop(key).set()
        if reply is None or not _is_shared(reply):
            return
        self._replies[key] = reply
        self._size += len(reply)
        while self._size > _MAX_BYTES:
            _, oldest = self._replies.popitem(last=False)
            self._size -= len(oldest)

    def clear(self) -> None:
        """Forget all objects: another SuperLink has begun."""
        self._replies.clear()
        self._size = 0


def _is_shared(reply: bytes) -> bool:
    """Return whether a reply holds an object that is the same for several robots."""
    try:
        parsed = PullObjectResponse.FromString(reply)
    except DecodeError:
        return False
    return parsed.object_available and not parsed.object_content.startswith(_MESSAGE)
