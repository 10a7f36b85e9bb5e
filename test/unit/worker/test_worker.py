"""The worker's part in a run, over a connection that fails as the test says."""

from __future__ import annotations

from flower_identity import take_identity
from flwr.app import Message, RecordDict

from fl_robot_ros.errors import ServerUnreachableError
from fl_robot_ros.worker.worker import _reply_until_delivered
from fl_robot_ros.worker_link.event import EventWriter

take_identity()


class ServerThatEnds:
    """A connection with the delivery alone; its server is gone when the robot replies."""

    node_id = 1

    def receive(self) -> Message:
        message = Message(RecordDict(), dst_node_id=1, message_type="query", group_id="4")
        message.metadata.__dict__["_message_id"] = "request"
        return message

    def send(self, *_: object, **__: object) -> str:
        raise ServerUnreachableError("lost the server")


def test_a_model_is_delivered_even_if_the_server_does_not_hear_of_it() -> None:
    delivered: list[Message] = []

    def store(message: Message, _: object) -> Message:
        delivered.append(message)
        return Message(RecordDict(), reply_to=message)

    _reply_until_delivered(ServerThatEnds(), store, EventWriter())
    assert len(delivered) == 1
