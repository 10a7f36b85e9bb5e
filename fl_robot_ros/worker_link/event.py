"""The events of a worker: lines of JSON on its standard output."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, TextIO

from fl_robot_ros.worker_link.run_status import RunState


@dataclass(frozen=True)
class Frozen:
    """The captured dataset is frozen: the images on each side, and those near a held out one."""

    train: int
    holdout: int
    left_out: int


@dataclass(frozen=True)
class Progress:
    """The worker's state and the progress of the round, as in `RunStatus`.

    `loss` and `accuracy` are None without a new value.
    """

    state: RunState
    run: int = 0
    round: int = 0
    rounds: int = 0
    epoch: int = 0
    epochs: int = 0
    loss: float | None = None
    accuracy: float | None = None


@dataclass(frozen=True)
class Reading:
    """A data source is being opened, which may take a download."""

    source: str


@dataclass(frozen=True)
class Prepared:
    """The images are in memory; `unmapped_labels` are no classes of the run."""

    train_images: int
    holdout_images: int
    unmapped_labels: Mapping[str, int] = field(default_factory=dict)
    unreadable_images: int = 0


@dataclass(frozen=True)
class Dropped:
    """The server did not take a reply, for `reason`; the robot waits for the next request."""

    reason: str


@dataclass(frozen=True)
class Delivered:
    """The final model is stored; `accuracy` is 0 to 1, on this robot's holdout images.

    Where it did not become the current model, `note` says why in one line. For `come_back_sec` s
    the server has no run for this robot; 0: unknown.
    """

    version: str
    accuracy: float
    is_current: bool = True
    note: str = ""
    come_back_sec: float = 0.0


@dataclass(frozen=True)
class Dismissed:
    """The run came to its end, and has no model for this robot; `reason` is one line for people.

    `come_back_sec` is as above.
    """

    reason: str
    come_back_sec: float = 0.0


@dataclass(frozen=True)
class Failed:
    """The run ended without a model; `reason` is one line for people, `come_back_sec` as above.

    It is no fault (`is_fault`) that the robot was needed for longer than a pause may take.
    """

    reason: str
    come_back_sec: float = 0.0
    is_fault: bool = True


@dataclass(frozen=True)
class Ended:
    """The run is over, and the process stays: it waits for another job."""


Event = Frozen | Progress | Reading | Prepared | Dropped | Delivered | Dismissed | Failed | Ended

_KINDS: dict[str, type[Any]] = {
    kind.__name__.lower(): kind
    for kind in (Frozen, Progress, Reading, Prepared, Dropped, Delivered, Dismissed, Failed, Ended)
}
# The end of a run is the end of the process, or `Ended`.
_WORKING = {*RunState} - {RunState.IDLE, RunState.FAILED}
_IS_OF: dict[str, Callable[[Any], bool]] = {
    "int": lambda value: isinstance(value, int),
    "bool": lambda value: isinstance(value, bool),
    "float": lambda value: isinstance(value, float),
    "float | None": lambda value: isinstance(value, (float, type(None))),
    "str": lambda value: isinstance(value, str),
    "Mapping[str, int]": lambda value: all(isinstance(count, int) for count in value.values()),
    "RunState": lambda value: value in _WORKING,
}


class EventWriter:
    """Writes events to a stream, and nothing without one, as under `flower-supernode`.

    After `Ended` nothing is written until `begin_run`: what comes late belongs to no run.

    Attributes:
        is_in_run: Whether events are written.
        progress: The newest one written; None before a run's first.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        """Take the stream."""
        self._stream = stream
        self._lock = threading.Lock()
        self.is_in_run = True
        self.progress: Progress | None = None

    def begin_run(self) -> None:
        """Write events again, those of the next run."""
        self.is_in_run = True

    def write(self, event: Event) -> None:
        """Write one event, unless the node is gone; the worker notices that by itself."""
        with self._lock:
            if self._stream is None or not self.is_in_run:
                return
            if isinstance(event, Progress):
                self.progress = event
            elif isinstance(event, Ended):
                self.is_in_run, self.progress = False, None
            try:
                line = json.dumps({"event": type(event).__name__.lower(), **asdict(event)})
                self._stream.write(line + "\n")
                self._stream.flush()
            except (BrokenPipeError, ValueError):
                self._stream = None


def read_event(line: str) -> Event | None:
    """Return the event in a line; None for anything else.

    Lines may come from a newer version of the worker, as after an update of a running robot:
    unknown kinds of events, states and fields are ignored.
    """
    try:
        values = json.loads(line)
        kind = _KINDS[values["event"]]
        known = [field for field in fields(kind) if field.name in values]
        if not all(_IS_OF[str(field.type)](values[field.name]) for field in known):
            return None
        event: Event = kind(**{field.name: values[field.name] for field in known})
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    return replace(event, state=RunState(event.state)) if isinstance(event, Progress) else event
