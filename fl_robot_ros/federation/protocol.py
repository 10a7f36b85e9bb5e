"""The messages between server and robots, as Flower records.

Train and evaluate are Flower's message types of that name; the final model goes out in a `query`
message. A message from the server holds `arrays` (one packed array, see `learning.weights`) and
`config` (a `RunConfig`, hardly ever another within a run: a robot does not fetch it twice); the
number of the round is the message's group. A robot replies with `metrics`, after training also
with `arrays`, and in `config` the first time with its name and what kept it from learning during
the run before, and after a delivery with its version of the model, or that which it keeps and why.
A robot that cannot do its part replies with the reason alone. Nothing else leaves a robot.

Where the fleet has keys, the final model comes with a third record, `signature`. It may come with
one more, `schedule`: the time until the next run. A robot that gets no model at the end of a run
is told why instead: a `query` message with the record `farewell`, and perhaps `schedule`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Message,
    MetricRecord,
    RecordDict,
)
from numpy.typing import NDArray

from fl_robot_ros.config import LOSSES, ServerSettings
from fl_robot_ros.errors import LabelError, ModelError, ProtocolError
from fl_robot_ros.identity.signed_model import Signature
from fl_robot_ros.images.preprocessing import Preprocessing
from fl_robot_ros.labels.label_text import clean_label

ARRAYS, METRICS, CONFIG = "arrays", "metrics", "config"
SIGNATURE = "signature"
SCHEDULE = "schedule"
FAREWELL = "farewell"
REASON = "reason"
COME_BACK_SEC = "come-back-sec"
WEIGHTS = "weights"
NUM_EXAMPLES = "num-examples"
LOSS, ACCURACY, SECONDS = "loss", "accuracy", "seconds"
CLASS_COUNTS = "class-counts"
ROBOT = "robot"
# Of a robot that learns by itself, as in "battery 0.31, needs >= 0.4 (Wed 22:03 to 23:10)".
HINDRANCE = "hindrance"
DELIVERED_VERSION = "model-version"
# Of a robot that does not use the delivered model: the version that it uses, and why.
KEPT_VERSION, VERDICT = "kept-version", "verdict"
# Of a robot whose gate refuses the delivered model: its version of it.
REFUSED_VERSION = "refused-version"

MAX_CLASSES = 10_000
# A robot does nothing that no server could be set to ask for. The smallest input is the
# reference CNN's alone.
_LIMITS: dict[str, tuple[type, float, float]] = {
    "run": (int, 1, 2**31 - 1),
    "last_round": (int, 1, 2**31 - 1),
    **{
        field.name: (
            type(field.default),
            1 if field.name.startswith("input_") else field.metadata["minimum"],
            field.metadata["maximum"],
        )
        for field in fields(ServerSettings)
        if field.metadata["maximum"] is not None
    },
}

Metrics = dict[str, int | float | list[int] | list[float]]


@dataclass(frozen=True)
class RunConfig:
    """The parameters of a run.

    Attributes:
        run: Number of the run, from 1.
        last_round: Number of the last round of this run.
        architecture: Keras architecture as JSON.
        classes: Class names in the order of the outputs.
        preprocessing: The model's input.
        local_epochs: Epochs to train.
        batch_size: Images in a batch.
        learning_rate: Learning rate of Adam.
        loss: `calibrated` by the robot's own shares of the classes, or `plain`.
        absent_classes: Numbers of the classes that no robot has images of, as far as is known.
        seed: Seed of shuffling and dropout; the number of the round is added to it.
        run_before: Beginning and end of the run before, as timestamps in s; () before the first.
    """

    run: int
    last_round: int
    architecture: str
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    local_epochs: int
    batch_size: int
    learning_rate: float
    loss: str
    absent_classes: tuple[int, ...]
    seed: int
    run_before: tuple[float, float] | tuple[()] = ()

    def to_record(self) -> ConfigRecord:
        """Return the values as a Flower record with kebab-case keys."""
        values = {name.replace("_", "-"): value for name, value in asdict(self).items()}
        values["classes"] = list(self.classes)
        values["absent-classes"] = list(self.absent_classes)
        values["run-before"] = list(self.run_before)
        values["preprocessing"] = json.dumps(self.preprocessing.to_dict())
        return ConfigRecord(values)

    @classmethod
    def from_record(cls, record: ConfigRecord) -> RunConfig:
        """Read and check a record from the network.

        Raises:
            ProtocolError: A value is missing, of the wrong kind or out of range.
        """
        values: dict[str, Any] = {}
        for field in fields(cls):
            key = field.name.replace("_", "-")
            if key not in record:
                raise ProtocolError(f"the server's message lacks '{key}'")
            values[field.name] = record[key]
        for name in ("run", "last_round", "local_epochs", "batch_size", "seed", "learning_rate"):
            _check_number(name, values[name])
        if not isinstance(values["architecture"], str):
            raise ProtocolError("'architecture' is not text")
        if values["loss"] not in LOSSES:
            raise ProtocolError(
                f"'loss' is {str(values['loss'])[:80]!r}; expected {' or '.join(LOSSES)}"
            )
        values["classes"] = checked_classes(values["classes"])
        absent = values["absent_classes"]
        if not isinstance(absent, list) or not all(
            type(number) is int and 0 <= number < len(values["classes"]) for number in absent
        ):
            raise ProtocolError(
                f"'absent-classes' is {str(absent)[:200]}; expected numbers of classes"
            )
        values["absent_classes"] = tuple(absent)
        before = values["run_before"]
        kinds = [type(moment) for moment in before] if isinstance(before, list) else None
        if kinds not in ([], [float, float]):
            raise ProtocolError(f"'run-before' is {before!r:.80}; expected two times, or none")
        values["run_before"] = tuple(before)
        try:
            preprocessing = Preprocessing.from_dict(json.loads(values["preprocessing"]))
        except (TypeError, ValueError, ModelError, RecursionError) as error:
            raise ProtocolError(f"'preprocessing' is invalid: {error}") from error
        for name in ("height", "width"):
            _check_number(f"input_{name}", getattr(preprocessing, name))
        values["preprocessing"] = preprocessing
        return cls(**values)


def checked_classes(classes: object) -> tuple[str, ...]:
    """Return class names, which are labels, as a tuple.

    Args:
        classes: A list of names from the network or the settings.

    Raises:
        ProtocolError: There are too few or too many, two are the same, or one is no label.
    """
    if not isinstance(classes, (list, tuple)) or not 2 <= len(classes) <= MAX_CLASSES:
        count = len(classes) if isinstance(classes, (list, tuple)) else "no list"
        raise ProtocolError(f"'classes' is {count} long; expected 2 to {MAX_CLASSES} names")
    for name in classes:
        try:
            if clean_label(name) != name or not name:
                raise ProtocolError(
                    f"the class name {name[:80]!r} is no label; expected text without spaces "
                    "around it, its accents composed"
                )
        except LabelError as error:
            raise ProtocolError(f"a class name is no label: {error}") from error
    if len(set(classes)) != len(classes):
        raise ProtocolError("'classes' has a name twice; expected distinct names")
    return tuple(classes)


def _check_number(name: str, value: Any) -> None:
    """Check a number against its limits, which are those of the server's own settings.

    Raises:
        ProtocolError: It is of another type, or out of range.
    """
    kind, lowest, highest = _LIMITS[name]
    is_of_kind = type(value) is kind
    if not is_of_kind or not lowest <= value <= highest:
        shown = str(value)[:80]
        raise ProtocolError(f"'{name}' is {shown!r}; expected {lowest:g} to {highest:g}")


def pack_request(
    config: RunConfig,
    weights: NDArray[np.float32],
    signature: Signature | None = None,
    come_back_sec: float = 0.0,
) -> RecordDict:
    """Return the content of a message from the server to a robot.

    Args:
        config: The parameters of the run.
        weights: float32 (number of weights,).
        signature: The signature of the final model, None without one.
        come_back_sec: Time until the next run in s; 0: unknown.
    """
    content = RecordDict({ARRAYS: to_arrays(weights), CONFIG: config.to_record()})
    if signature is not None:
        content[SIGNATURE] = ConfigRecord({**asdict(signature)})
    if come_back_sec:
        content[SCHEDULE] = ConfigRecord({COME_BACK_SEC: come_back_sec})
    return content


def pack_farewell(reason: str, come_back_sec: float = 0.0) -> RecordDict:
    """Return the content of the last message to a robot that gets no model.

    Args:
        reason: Why not, in one line.
        come_back_sec: Time until the next run in s; 0: unknown.
    """
    content = RecordDict({FAREWELL: ConfigRecord({REASON: reason})})
    if come_back_sec:
        content[SCHEDULE] = ConfigRecord({COME_BACK_SEC: come_back_sec})
    return content


def unpack_farewell(message: Message) -> str | None:
    """Return why a robot gets no model, as the server wrote it; None if it gets one."""
    record = message.content.config_records.get(FAREWELL)
    return None if record is None else str(record.get(REASON, ""))


def unpack_signature(message: Message) -> Signature | None:
    """Return the signature in a message from the server, unchecked; None without one.

    Raises:
        ProtocolError: A part of it is missing or no text.
    """
    record = message.content.config_records.get(SIGNATURE)
    if record is None:
        return None
    values = {field.name: record.get(field.name) for field in fields(Signature)}
    if not all(isinstance(value, str) for value in values.values()):
        raise ProtocolError(f"the record '{SIGNATURE}' lacks {', '.join(values)} as text")
    return Signature(**{name: str(value) for name, value in values.items()})


def unpack_come_back(message: Message) -> object:
    """Return the time until the next run in s, unchecked; None where the server does not say."""
    record = message.content.config_records.get(SCHEDULE)
    return None if record is None else record.get(COME_BACK_SEC)


@dataclass(frozen=True)
class Request:
    """The content of a message from the server.

    Attributes:
        config: The parameters of the run.
        server_round: Number of the round since the first run, from 1.
        weights: The global model, unchecked: of any dtype and shape.
    """

    config: RunConfig
    server_round: int
    weights: NDArray[np.generic]


def unpack_request(message: Message) -> Request:
    """Return the content of a message from the server.

    Raises:
        ProtocolError: A record is missing or of the wrong kind.
    """
    config = message.content.config_records.get(CONFIG)
    if config is None:
        raise ProtocolError(f"the server's message lacks the record '{CONFIG}'")
    group = message.metadata.group_id
    if not group.isdecimal() or int(group) < 1:
        raise ProtocolError(f"the message's group is {group!r}; expected the number of a round")
    return Request(RunConfig.from_record(config), int(group), unpack_weights(message))


def unpack_weights(message: Message) -> NDArray[np.generic]:
    """Return the packed weights of a message, unchecked: of any dtype and shape.

    Raises:
        ProtocolError: The message lacks the array, holds more arrays, or cannot be decoded.
    """
    arrays = message.content.array_records.get(ARRAYS)
    if arrays is None or list(arrays.keys()) != [WEIGHTS]:
        raise ProtocolError(f"expected one array '{WEIGHTS}' in the record '{ARRAYS}'")
    try:
        weights: NDArray[np.generic] = arrays[WEIGHTS].numpy()
    except (ValueError, TypeError, EOFError, OSError) as error:
        raise ProtocolError(f"the array '{WEIGHTS}' cannot be read: {error}") from error
    return weights


def reply(
    message: Message,
    metrics: Metrics,
    weights: NDArray[np.float32] | None = None,
    texts: dict[str, str] | None = None,
) -> Message:
    """Return a robot's reply to a message.

    Args:
        message: The server's message.
        metrics: Numbers; `num-examples` weights the aggregation.
        weights: float32 (number of weights,), after training.
        texts: Strings for the server, such as the robot's name.
    """
    content = RecordDict({METRICS: MetricRecord(metrics)})
    if weights is not None:
        content[ARRAYS] = to_arrays(weights)
    if texts:
        content[CONFIG] = ConfigRecord(dict(texts))
    return Message(content, reply_to=message)


def pack_update(difference: NDArray[np.float32], num_examples: float) -> RecordDict:
    """Return what a strategy takes from one robot.

    Args:
        difference: The robot's weights minus the global model's, float32 (number of weights,).
        num_examples: The update's weight in the mean, in images.
    """
    return RecordDict(
        {
            ARRAYS: to_arrays(difference),
            METRICS: MetricRecord({NUM_EXAMPLES: float(num_examples)}),
        }
    )


def to_arrays(weights: NDArray[np.float32]) -> ArrayRecord:
    """Return one packed array as a record."""
    return ArrayRecord({WEIGHTS: Array(weights)})
