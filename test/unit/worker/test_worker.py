"""The worker's part in a run, over a connection that fails as the test says."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from flower_identity import take_identity
from flwr.app import Message, RecordDict
from worker_job import make_job

from fl_robot_ros.errors import PauseTooLongError, RunFailedError, ServerUnreachableError
from fl_robot_ros.worker import worker
from fl_robot_ros.worker.pause import Pause
from fl_robot_ros.worker.worker import _reply_until_delivered
from fl_robot_ros.worker_link.event import EventWriter, Failed, Progress, read_event
from fl_robot_ros.worker_link.run_status import RunState

take_identity()


class ServerThatEnds:
    """A connection with the delivery alone; its server is gone when the robot replies."""

    node_id = 1

    def receive(self) -> Message:
        return request("query")

    def send(self, *_: object, **__: object) -> str:
        raise ServerUnreachableError("lost the server")


class ServerThatTrains:
    """A connection with one request to train, whose server reads the reply at once."""

    node_id = 1

    def __init__(self) -> None:
        self.replies: list[Message] = []
        self._requests = [request("train")]

    def receive(self) -> Message | None:
        return self._requests.pop() if self._requests else None

    def send(self, reply: Message, *_: object, **__: object) -> str:
        self.replies.append(reply)
        return ""

    def is_settled(self, _: Message) -> bool:
        return True


def request(message_type: str) -> Message:
    message = Message(RecordDict(), dst_node_id=1, message_type=message_type, group_id="4")
    message.metadata.__dict__["_message_id"] = "request"
    return message


def test_a_robot_that_pauses_for_too_long_tells_the_server_why_it_leaves() -> None:
    stream = io.StringIO()
    events = EventWriter(stream)
    pause = Pause(events, 0.0)
    pause.begin("battery 0.31, needs >= 0.4")
    connection = ServerThatTrains()
    with pytest.raises(RunFailedError, match=r"^left: battery 0.31"):
        _reply_until_delivered(connection, lambda *_: pytest.fail("it trains"), events, pause)
    [reply] = connection.replies
    assert reply.error.reason.startswith("left: battery 0.31, needs >= 0.4")
    failed = read_event(stream.getvalue())
    assert isinstance(failed, Failed)
    assert failed.reason == reply.error.reason
    assert not failed.is_fault  # the robot was needed


def test_a_robot_that_is_needed_before_it_connects_is_paused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_step_back", lambda _: None)  # of this process
    stream = io.StringIO()
    events = EventWriter(stream)
    pause = Pause(events, 0.0)
    pause.begin("goal active")
    with pytest.raises(PauseTooLongError):
        worker.FleetWorker(events, worker.Guard(events), pause).run(
            make_job(tmp_path, freeze=None)
        )
    told = [read_event(line) for line in stream.getvalue().splitlines()]
    assert told == [Progress(RunState.CONNECTING), Progress(RunState.PAUSED)]


def test_a_robot_that_pauses_for_too_long_waits_for_no_request() -> None:
    pause = Pause(EventWriter(), 0.0)
    pause.begin("goal active")
    connection = ServerThatTrains()
    connection.receive()
    with pytest.raises(RunFailedError, match=r"^left: goal active"):
        _reply_until_delivered(connection, None, EventWriter(), pause)
    assert not connection.replies


def test_a_model_is_delivered_even_if_the_server_does_not_hear_of_it() -> None:
    delivered: list[Message] = []

    def store(message: Message, _: object) -> Message:
        delivered.append(message)
        return Message(RecordDict(), reply_to=message)

    _reply_until_delivered(ServerThatEnds(), store, EventWriter(), Pause(EventWriter(), 120.0))
    assert len(delivered) == 1
