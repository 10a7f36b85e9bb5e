"""The robots' replies, each as soon as it is here as a whole.

A robot announces a reply and then uploads its objects. Flower's `Grid.pull_messages` waits for
the objects of one announced reply after the other, for three minutes where they do not come. This
reader uses the Grid's own connection, and fetches each reply by itself.
"""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, cast

from flwr.app import Message
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest, ObjectTree
from flwr.proto.runtime_pb2 import PullAppMessagesRequest
from flwr.serverapp import Grid
from flwr.supercore.inflatable.inflatable_object import iterate_object_tree
from flwr.supercore.inflatable.inflatable_protobuf_utils import make_pull_object_fn_protobuf
from flwr.supercore.inflatable.inflatable_utils import (
    ObjectPullError,
    inflate_object_from_contents,
    pull_objects,
)

# Replies that are fetched at once; each has two requests under way.
_MAX_UPLOADS = 16
_MOMENT_SEC = 0.1


@dataclass(frozen=True)
class Read:
    """A reply that is here, or is known not to come.

    Attributes:
        request_id: The message that it replies to.
        message: The reply; None if it does not come.
        reason: Why it does not come, "" otherwise.
    """

    request_id: str
    message: Message | None
    reason: str = ""


class ReplyReader:
    """Reads the replies to messages of one run."""

    def __init__(self, grid: Grid) -> None:
        """Take the Grid, of the kind that a ServerApp is given."""
        self._grid = cast(Any, grid)
        self._pool = ThreadPoolExecutor(_MAX_UPLOADS, thread_name_prefix="reply")
        self._fetching: dict[Future[Message], str] = {}
        self._unwanted: set[str] = set()
        self._late: set[str] = set()

    def read(self, request_ids: Collection[str]) -> list[Read]:
        """Return the replies that have come; wait a moment for those that are being uploaded.

        Args:
            request_ids: The messages that wait for a reply.
        """
        late: list[Read] = []
        for envelope, tree in self._claim({*request_ids, *self._unwanted, *self._late}):
            request_id = envelope.metadata.reply_to_message_id
            if request_id in self._unwanted:
                self._unwanted.discard(request_id)
                self._confirm(tree)
                late.append(Read(request_id, None, "came too late"))
            else:
                fetching = self._pool.submit(self._fetch, request_id, tree)
                self._fetching[fetching] = request_id
        if self._fetching:
            wait(self._fetching, _MOMENT_SEC, FIRST_COMPLETED)
        return late + [self._finished(one) for one in list(self._fetching) if one.done()]

    def _claim(self, request_ids: set[str]) -> list[tuple[Any, ObjectTree]]:
        """Return the replies that were announced, each of them once."""
        asked = request_ids - {*self._fetching.values()}
        if not asked:
            return []
        pulled = self._grid._runtime_client.PullMessages(
            PullAppMessagesRequest(message_ids=sorted(asked))
        )
        return [*zip(pulled.messages_list, pulled.message_object_trees, strict=True)]

    def give_up(self, request_ids: Collection[str], *, is_wanted: bool = False) -> None:
        """Wait no longer for some replies; `read` tells of them if they come nevertheless.

        Args:
            request_ids: The messages that they reply to.
            is_wanted: Whether a late reply is read as a whole.
        """
        if is_wanted:
            self._late.update(request_ids)
        else:
            self._late.difference_update(request_ids)
            self._unwanted.update(request_ids)

    def close(self) -> None:
        """End all uploads."""
        self.give_up(self._fetching.values())
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _finished(self, fetched: Future[Message]) -> Read:
        request_id = self._fetching.pop(fetched)
        self._unwanted.discard(request_id)
        self._late.discard(request_id)
        try:
            return Read(request_id, fetched.result())
        except ObjectPullError:
            return Read(request_id, None, "announced its reply and did not send it")

    def _fetch(self, request_id: str, tree: ObjectTree) -> Message:
        """Return a reply, once all of its objects are here.

        Raises:
            ObjectPullError: They do not come.
        """
        pull_now = make_pull_object_fn_protobuf(
            self._grid._runtime_client.PullObject, self._grid.node, self._grid.run.run_id
        )

        def pull(name: str) -> bytes:
            if request_id in self._unwanted:
                raise ObjectPullError(name, "nobody waits for it")
            return pull_now(name)

        names = [node.object_id for node in iterate_object_tree(tree)]
        try:
            contents = pull_objects(names, pull, max_time=None)
        finally:
            self._confirm(tree)
        message = cast(Message, inflate_object_from_contents(tree.object_id, contents))
        message.metadata.__dict__["_message_id"] = tree.object_id
        return message

    def _confirm(self, tree: ObjectTree) -> None:
        """Have the SuperLink forget a reply."""
        self._grid._runtime_client.ConfirmMessageReceived(
            ConfirmMessageReceivedRequest(
                node=self._grid.node,
                run_id=self._grid.run.run_id,
                message_object_id=tree.object_id,
            )
        )
