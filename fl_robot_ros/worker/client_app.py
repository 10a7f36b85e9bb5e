"""The package's Flower ClientApp: passes messages to this robot's `Participant`.

The app runs in the fleet worker for a whole run, and unchanged under `flower-supernode`, which
starts a process for each message.
"""

from __future__ import annotations

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from fl_robot_ros.worker.participant import Participant

app = ClientApp()

_participants: dict[str, Participant] = {}


def set_participant(participant: Participant) -> None:
    """Set the participant of this process, instead of one from the node configuration."""
    _participants.clear()
    _participants["process"] = participant


def forget_participant() -> None:
    """Let go of the participant and its images."""
    _participants.clear()


def _participant(context: Context) -> Participant:
    if "process" not in _participants:
        _participants["process"] = Participant.from_node_config(context.node_config)
    return _participants["process"]


@app.train()
def train(message: Message, context: Context) -> Message:
    """Train on this robot's data."""
    return _participant(context).train(message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Evaluate the global model on this robot's holdout data."""
    return _participant(context).evaluate(message)


@app.query()
def deliver(message: Message, context: Context) -> Message:
    """Store the final model."""
    return _participant(context).deliver(message)
