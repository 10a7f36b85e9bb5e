"""The jobs of a worker, and what the node tells it meanwhile: lines on its standard input."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from fl_robot_ros.data_source import DataSource, SourceKind
from fl_robot_ros.errors import ProtocolError
from fl_robot_ros.publication import Publication
from fl_robot_ros.worker_link.hindrance import Hindrance

# The line that asks a worker to leave the run; those that stop its work, with the reason after a
# space, and let it go on.
CANCEL = "cancel"
PAUSE, RESUME = "pause", "resume"
# What a process takes from its first job; all else is read anew for each run.
_TAKEN_ONCE = ("threads", "nice", "memory_limit_mb", "pause_max_sec", "keep_warm")


@dataclass(frozen=True)
class FreezeRequest:
    """What the worker freezes of the robot's own dataset before a run.

    Attributes:
        dataset_dir: Folder of the dataset.
        snapshots_dir: Folder for the snapshot.
        max_id: The newest sample that belongs to the run.
        segment_sec: Longest stretch of time that is held out as a whole, in s.
        gap_sec: Shortest time between training and holdout images of a class, in s.
    """

    dataset_dir: str
    snapshots_dir: str
    max_id: int
    segment_sec: float
    gap_sec: float


@dataclass(frozen=True)
class Job:
    """One run, as the node describes it to the worker.

    Attributes:
        robot: The robot's name.
        server_address: host:port of the SuperLink.
        root_certificates: PEM file of the certificate authority; "" for that of the enrolment.
        enrolment: File of the robot's enrolment; "" without one. Without both: plain HTTP.
        connect_timeout_sec: How long to try to reach the server.
        server_timeout_sec: How long to wait for a server that went away.
        source: The learning data.
        freeze: The part of the captured dataset to freeze; None for another source.
        models_dir: Folder of the model versions.
        keep_versions: Number of model versions to keep.
        publication: What is asked of a delivered model before it becomes the current one.
        threads: Threads to train with; 0: one for each core.
        nice: Niceness to add, 0 to 19.
        memory_limit_mb: Most memory of the worker, in MB; 0: no limit.
        hindrances: What kept the robot from learning before.
        pause_max_sec: Longest pause, in s; after it the worker leaves the run.
        keep_warm: Whether the process waits for another job after the run, unless something was
            wrong with it.
    """

    robot: str
    server_address: str
    root_certificates: str
    enrolment: str
    connect_timeout_sec: float
    server_timeout_sec: float
    source: DataSource
    freeze: FreezeRequest | None
    models_dir: str
    keep_versions: int
    publication: Publication
    threads: int
    nice: int
    memory_limit_mb: int
    hindrances: tuple[Hindrance, ...] = ()
    pause_max_sec: float = 120.0
    keep_warm: bool = False

    def can_follow(self, before: Job) -> bool:
        """Return whether a process that did a job may do this one."""
        return all(getattr(self, name) == getattr(before, name) for name in _TAKEN_ONCE)

    def to_json(self) -> str:
        """Return the job as one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        """Read a job.

        Raises:
            ProtocolError: The text is not a job of this version.
        """
        try:
            values = json.loads(text)
            source, freeze = values["source"], values["freeze"]
            values["source"] = DataSource(**{**source, "kind": SourceKind(source["kind"])})
            values["publication"] = Publication.from_dict(values["publication"])
            values["freeze"] = None if freeze is None else FreezeRequest(**freeze)
            values["hindrances"] = tuple(Hindrance(*one) for one in values["hindrances"])
            return cls(**values)
        except (ValueError, KeyError, TypeError) as error:
            raise ProtocolError(f"expected a job; the worker was given {text[:200]!r}") from error
