"""The server's check of the robots' replies before they are averaged.

Flower's FedAvg takes a NaN, a weight of 10^9 or of -9 into the mean, and stops the run over an
array of another shape. Here each reply is checked by itself: an invalid one is left out of the
round and its robot is named; the others count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from flwr.app import Message
from flwr.common.constant import ErrorCode

from fl_robot_ros.errors import ModelError, ProtocolError
from fl_robot_ros.federation.protocol import (
    ACCURACY,
    CONFIG,
    HINDRANCE,
    KEPT_VERSION,
    LOSS,
    METRICS,
    NUM_EXAMPLES,
    REFUSED_VERSION,
    ROBOT,
    SECONDS,
    VERDICT,
    unpack_weights,
)
from fl_robot_ros.learning.weights import check_weights
from fl_robot_ros.one_line import one_line

MAX_NAME_LENGTH = 64
_MAX_TEXT_LENGTH = 300


@dataclass(frozen=True)
class Reply:
    """The reply of one robot, or the lack of it.

    Attributes:
        node_id: Flower's number of the robot's connection.
        robot: Name that the robot gave; "node <id>" where it gave none.
        message: The message; None without a reply.
        reason: Why the reply does not count; "" if it counts.
        num_examples: Images that the robot trained or evaluated on.
        loss: Mean loss; NaN if the reply does not count.
        accuracy: 0 to 1; NaN if the reply does not count.
        seconds: The robot's time for the work.
        hindrance: What kept the robot from learning during the run before, "" where it does not
            say; in its first reply of a run.
        note: What became of a delivered model where the robot does not use it, as in
            "keeps v00002: ..."; "" elsewhere.
        refuses_model: Whether the robot's own check refused the delivered model.
    """

    node_id: int
    robot: str
    message: Message | None
    reason: str = ""
    num_examples: int = 0
    loss: float = math.nan
    accuracy: float = math.nan
    seconds: float = 0.0
    hindrance: str = ""
    note: str = ""
    refuses_model: bool = False

    @property
    def is_named(self) -> bool:
        """Whether the robot gave its name."""
        return self.robot != _unnamed(self.node_id)

    @property
    def remark(self) -> str:
        """What the history keeps: why it does not count, its note, and the hindrance."""
        before = self.hindrance and f"did not learn before: {self.hindrance}"
        return "; ".join(text for text in (self.reason or self.note, before) if text)

    @property
    def accepted(self) -> bool:
        """Whether the reply counts."""
        return not self.reason


def check_reply(
    node_id: int, message: Message | None, num_weights: int | None, max_examples: int
) -> Reply:
    """Check one reply by itself; the content of a message raises nothing.

    Args:
        node_id: Flower's number of the robot.
        message: The message, None without one.
        num_weights: Size of the global model; None where no weights are expected.
        max_examples: Most images that a robot may claim.
    """
    robot = _unnamed(node_id)
    if message is None:
        return Reply(node_id, robot, None, "no reply in time")
    if message.has_error():
        if message.error.code == ErrorCode.NODE_UNAVAILABLE:
            return Reply(node_id, robot, message, "it is gone: its heartbeats stopped")
        reason = one_line(message.error.reason or "", _MAX_TEXT_LENGTH)
        return Reply(node_id, robot, message, reason or "it failed, and does not say why")
    robot = _text(message, ROBOT, MAX_NAME_LENGTH) or robot
    try:
        metrics = _checked_metrics(message, max_examples)
        if num_weights is not None:
            check_weights(unpack_weights(message), num_weights)
    except (ProtocolError, ModelError) as error:
        return Reply(node_id, robot, message, f"refused: {error}")
    return Reply(
        node_id,
        robot,
        message,
        num_examples=int(metrics[NUM_EXAMPLES]),
        loss=metrics[LOSS],
        accuracy=metrics[ACCURACY],
        seconds=metrics[SECONDS],
        hindrance=_text(message, HINDRANCE, _MAX_TEXT_LENGTH),
        note=_kept_note(message),
        refuses_model=bool(_text(message, REFUSED_VERSION, MAX_NAME_LENGTH)),
    )


def _unnamed(node_id: int) -> str:
    return f"node {node_id}"


def _text(message: Message, name: str, most: int) -> str:
    """Return a text of a reply as one line, "" without one."""
    record = message.content.config_records.get(CONFIG)
    text = record.get(name) if record is not None else None
    return one_line(text, most) if isinstance(text, str) else ""


def _kept_note(message: Message) -> str:
    """Return why a robot does not use the model that was delivered, "" if it does."""
    reason = _text(message, VERDICT, _MAX_TEXT_LENGTH)
    kept = _text(message, KEPT_VERSION, MAX_NAME_LENGTH)
    return reason and f"{f'keeps {kept}' if kept else 'uses no model'}: {reason}"


def _checked_metrics(message: Message, max_examples: int) -> dict[str, float]:
    """Return the metrics that the server uses.

    Raises:
        ProtocolError: A metric is missing, not a finite number, or out of range.
    """
    record = message.content.metric_records.get(METRICS)
    if record is None:
        raise ProtocolError(f"the record '{METRICS}' is missing")
    values: dict[str, float] = {}
    ranges = {
        NUM_EXAMPLES: (1.0, float(max_examples)),
        LOSS: (-math.inf, math.inf),
        ACCURACY: (0.0, 1.0),
        SECONDS: (0.0, math.inf),
    }
    for name, (lowest, highest) in ranges.items():
        value = record.get(name)
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            raise ProtocolError(f"'{name}' is {value!r}; expected a finite number")
        if not lowest <= value <= highest:
            raise ProtocolError(f"'{name}' is {value:g}; expected {lowest:g} to {highest:g}")
        values[name] = float(value)
    return values
