"""The fleet worker: the process in which one robot takes part in one run.

The ROS node starts `python -m fl_robot_ros.worker.worker`, writes a `WorkerJob` as the first
line of its standard input and reads events (see `progress`) from its standard output. A later line
`cancel`, or the end of the input because the node is gone, makes the worker leave the run.
Everything that libraries print goes to standard error.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TextIO

from fl_robot_ros.data_source import DataSource
from fl_robot_ros.errors import (
    FlRobotError,
    ProtocolError,
    RunCancelledError,
    RunFailedError,
)
from fl_robot_ros.worker.progress import ProgressWriter
from fl_robot_ros.worker.reachability import wait_for_listener

# Poll often while answers are quick, seldom while the server lets wait: the delay that polling
# adds stays a twentieth of the waiting.
_POLL_SHARE = 0.05
_MIN_POLL_SEC = 0.1
_MAX_POLL_SEC = 2.0
_SHUTDOWN_GRACE_SEC = 10.0
_FAREWELL_SEC = 30.0
_OOM_SCORE = "500"  # of 1000; the node has 0
_FAREWELL_POLL_SEC = 0.25

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorkerJob:
    """What the worker must know.

    Attributes:
        robot: The robot's name.
        server_address: host:port of the SuperLink.
        root_certificates: PEM file of the certificate authority; "" for plain HTTP.
        connect_timeout_sec: How long to try to reach the server.
        server_timeout_sec: How long to outlive the loss of the server.
        source: The fields of the `DataSource` to learn from.
        snapshot_path: JSON file of the snapshot of the captured dataset; "" with another source.
        models_dir: Folder of the model versions.
        keep_versions: Model versions kept.
        threads: Threads to train with; 0: as many as there are cores.
        nice: Niceness to add, 0 to 19.
    """

    robot: str
    server_address: str
    root_certificates: str
    connect_timeout_sec: float
    server_timeout_sec: float
    source: dict[str, Any]
    snapshot_path: str
    models_dir: str
    keep_versions: int
    threads: int
    nice: int

    @classmethod
    def from_json(cls, text: str) -> WorkerJob:
        """Read a job.

        Raises:
            ProtocolError: The text is no job.
        """
        try:
            values = json.loads(text)
            return cls(**{field.name: values[field.name] for field in fields(cls)})
        except (ValueError, KeyError, TypeError) as error:
            raise ProtocolError(f"the worker got no job but {text[:200]!r}") from error


class CommandReader:
    """Listens for the parent's wish to leave the run, and for the parent's end."""

    def __init__(self, stream: TextIO) -> None:
        """Start listening.

        Args:
            stream: Standard input, after the job.
        """
        self.stop = threading.Event()
        self.parent_gone = False
        self._stream = stream
        threading.Thread(target=self._listen, name="commands", daemon=True).start()

    def _listen(self) -> None:
        for line in self._stream:
            if line.strip() == "cancel":
                break
        else:
            self.parent_gone = True
        self.stop.set()
        # A step that never ends must not keep the process alive.
        time.sleep(_SHUTDOWN_GRACE_SEC)
        os._exit(1)


def run_job(job: WorkerJob, progress: ProgressWriter, stop: threading.Event) -> None:
    """Take part in one run, from connecting to the delivery of the final model.

    Raises:
        ServerUnreachableError: The server is not there, or went away for too long.
        RunCancelledError: `stop` was set.
        FlRobotError: Something else went wrong.
    """
    progress.event("connecting", server=job.server_address)
    wait_for_listener(job.server_address, job.connect_timeout_sec, stop)
    if job.threads:
        os.environ["TF_NUM_INTRAOP_THREADS"] = str(job.threads)
        os.environ["TF_NUM_INTEROP_THREADS"] = str(job.threads)
    # Flower and TensorFlow take seconds to load, and are only needed now.
    from fl_robot_ros.worker import client_app
    from fl_robot_ros.worker.fleet_connection import connect
    from fl_robot_ros.worker.participant import Participant, open_data

    source = DataSource(**job.source)
    if not source.is_captured:
        progress.event("reading", source=str(source))
    participant = Participant(
        robot=job.robot,
        data=open_data(source, job.snapshot_path),
        models_dir=Path(job.models_dir),
        keep_versions=job.keep_versions,
        server=job.server_address,
        progress=progress,
        should_stop=stop.is_set,
    )
    client_app.set_participant(participant)
    outcome: Exception | None = None
    with connect(
        job.server_address,
        root_certificates=job.root_certificates,
        server_timeout_sec=job.server_timeout_sec,
    ) as connection:
        progress.event("waiting")
        # Flower's connection swallows what is raised inside it.
        try:
            _answer_until_delivered(connection, client_app.app, stop)
        except Exception as error:
            outcome = error
    if outcome is not None:
        raise outcome


def _answer_until_delivered(connection: Any, app: Any, stop: threading.Event) -> None:
    """Answer one message after another; return after the delivery."""
    from flwr.app import Context, RecordDict

    waiting_since = time.monotonic()
    while not stop.is_set():
        message = connection.receive()
        if message is None:
            waited = time.monotonic() - waiting_since
            stop.wait(min(max(waited * _POLL_SHARE, _MIN_POLL_SEC), _MAX_POLL_SEC))
            continue
        context = Context(
            run_id=message.metadata.run_id,
            node_id=connection.node_id,
            node_config={},
            state=RecordDict(),
            run_config={},
        )
        start = time.monotonic()
        answer, error = _run_app(app, message, context)
        connection.send(answer, time.monotonic() - start)
        waiting_since = time.monotonic()
        if message.metadata.message_type.startswith("query"):
            if error is not None:
                raise RunFailedError(f"the final model was not stored: {error}") from error
            _wait_for_end(connection, message.metadata.run_id, stop)
            return
        if error is not None:
            # What went wrong once would go wrong in every round.
            raise error
    raise RunCancelledError("the run was left")


def _wait_for_end(connection: Any, run_id: int, stop: threading.Event) -> None:
    """Stay until the run is over: Flower drops the answer of a robot that is not connected."""
    deadline = time.monotonic() + _FAREWELL_SEC
    while time.monotonic() < deadline and not connection.run_ended(run_id):
        if stop.wait(_FAREWELL_POLL_SEC):
            return


def _run_app(app: Any, message: Any, context: Any) -> tuple[Any, Exception | None]:
    """Return the app's answer, or an answer that tells the server why there is none."""
    from flwr.app import Error, Message

    try:
        return app(message, context), None
    except Exception as error:
        if not isinstance(error, FlRobotError):
            _logger.exception("the ClientApp failed")
        reason = (
            str(error) if isinstance(error, FlRobotError) else f"{type(error).__name__}: {error}"
        )
        _logger.warning("told the server: %s", reason)
        return Message(Error(code=0, reason=reason), reply_to=message), error


def _step_back(nice: int) -> None:
    """Leave the processor, and in need of memory the life, to the robot's other processes."""
    os.nice(nice)
    try:
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)
    except OSError as error:
        _logger.info("the worker's place in the order of the OOM killer stays as it is: %s", error)


def main() -> int:
    """Run the worker; return its exit code: 0 delivered, 1 failed, 3 cancelled."""
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs every poll
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    # A Ctrl-C in the terminal reaches the whole process group; the node decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
    progress = ProgressWriter(events)
    try:
        job = WorkerJob.from_json(sys.stdin.readline())
        commands = CommandReader(sys.stdin)
        _step_back(job.nice)
        signal.signal(signal.SIGTERM, lambda *_: commands.stop.set())
        run_job(job, progress, commands.stop)
    except RunCancelledError:
        progress.event("cancelled")
        return 3
    except FlRobotError as error:
        _logger.error("%s", error)
        progress.event("failed", reason=str(error))
        return 1
    except Exception as error:
        _logger.exception("the worker failed")
        progress.event("failed", reason=f"{type(error).__name__}: {error}")
        return 1
    return 0


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    # Threads of Flower and TensorFlow must not keep a finished worker alive.
    os._exit(code)
