"""The fleet worker: the process in which one robot takes part in one run.

The ROS node starts `python -m fl_robot_ros.worker.worker`, writes a job (`worker_link.job`) as the
first line of standard input and reads events (`worker_link.event`) from standard output. A later
line `cancel`, or the end of the input because the node is gone, makes the worker leave the run.
The output of libraries goes to standard error.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, TextIO

from fl_robot_ros.dataset.dataset import Dataset
from fl_robot_ros.dataset.snapshot import freeze
from fl_robot_ros.errors import FlRobotError, RunCancelledError, RunFailedError
from fl_robot_ros.identity.enrolment import Enrolment
from fl_robot_ros.worker.first_contact import introduce, read_certificates
from fl_robot_ros.worker.reachability import wait_for_listener
from fl_robot_ros.worker_link.event import EventWriter, Failed, Frozen, Progress, Reading
from fl_robot_ros.worker_link.job import CANCEL, FreezeRequest, Job
from fl_robot_ros.worker_link.run_status import RunState

_SNAPSHOTS_KEPT = 3
# Polls are frequent while messages come quickly, and rare during a long wait: polling adds a
# twentieth of the wait.
_POLL_SHARE = 0.05
_MIN_POLL_SEC = 0.1
_MAX_POLL_SEC = 2.0
_SHUTDOWN_GRACE_SEC = 10.0
_FAREWELL_SEC = 30.0
_OOM_SCORE = "500"  # of 1000; the node has 0
_FAREWELL_POLL_SEC = 0.25

_logger = logging.getLogger(__name__)


class CommandReader:
    """Listens for the line `cancel` and for the end of the parent process."""

    def __init__(self, stream: TextIO) -> None:
        """Start listening.

        Args:
            stream: Standard input, after the job.
        """
        self.stop = threading.Event()
        self._stream = stream
        threading.Thread(target=self._listen, name="commands", daemon=True).start()

    def _listen(self) -> None:
        for line in self._stream:
            if line.strip() == CANCEL:
                break
        self.stop.set()
        # A step that never ends must not keep the process alive.
        time.sleep(_SHUTDOWN_GRACE_SEC)
        os._exit(1)


def run_job(job: Job, events: EventWriter, stop: threading.Event) -> None:
    """Take part in one run, from the snapshot to the delivery of the final model.

    Raises:
        ServerUnreachableError: The server is not there, or went away for too long.
        RunCancelledError: `stop` was set.
        FlRobotError: The data, the model or the server's messages cannot be used.
    """
    snapshot = None
    if job.freeze is not None:
        snapshot = _freeze(job.freeze, job.source.holdout_fraction, events)
    _step_back(job.nice)
    events.write(Progress(RunState.CONNECTING))
    wait_for_listener(job.server_address, job.connect_timeout_sec, stop)
    enrolment = Enrolment.load(Path(job.enrolment)) if job.enrolment else None
    certificates = read_certificates(job.root_certificates, enrolment)
    introduce(job.server_address, certificates, enrolment, job.connect_timeout_sec)
    if job.threads:
        os.environ["TF_NUM_INTRAOP_THREADS"] = str(job.threads)
        os.environ["TF_NUM_INTEROP_THREADS"] = str(job.threads)
    # Flower and TensorFlow take seconds to load, and are only needed now.
    from fl_robot_ros.learning.learning_data import open_learning_data
    from fl_robot_ros.worker import client_app
    from fl_robot_ros.worker.fleet_connection import connect
    from fl_robot_ros.worker.participant import Participant

    if snapshot is None:
        events.write(Reading(str(job.source)))
    participant = Participant(
        robot=enrolment.robot if enrolment else job.robot,
        data=open_learning_data(job.source, snapshot),
        models_dir=Path(job.models_dir),
        keep_versions=job.keep_versions,
        server=job.server_address,
        events=events,
        should_stop=stop.is_set,
        enrolment=enrolment,
    )
    client_app.set_participant(participant)
    outcome: Exception | None = None
    with connect(
        job.server_address,
        certificates=certificates,
        enrolment=enrolment,
        server_timeout_sec=job.server_timeout_sec,
    ) as connection:
        events.write(Progress(RunState.WAITING))
        # Flower's connection swallows exceptions.
        try:
            _reply_until_delivered(connection, client_app.app, stop)
        except Exception as error:
            outcome = error
    if outcome is not None:
        raise outcome


def _freeze(request: FreezeRequest, holdout_fraction: float, events: EventWriter) -> Path:
    """Freeze the captured dataset; return the snapshot's file.

    Raises:
        DatasetError: The dataset cannot be read.
        SnapshotError: The dataset has no labelled images, or the file cannot be written.
    """
    with Dataset(Path(request.dataset_dir)) as dataset:
        snapshot = freeze(
            dataset,
            holdout_fraction,
            request.segment_sec,
            request.max_id,
            gap_sec=request.gap_sec,
        )
    folder = Path(request.snapshots_dir)
    path = folder / f"{snapshot.id}.json"
    snapshot.save(path)
    for old in sorted(folder.glob("*.json"))[:-_SNAPSHOTS_KEPT]:  # names begin with the time
        old.unlink(missing_ok=True)
    events.write(Frozen(len(snapshot.train), len(snapshot.holdout), snapshot.left_out))
    return path


def _reply_until_delivered(connection: Any, app: Any, stop: threading.Event) -> None:
    """Reply to one message after another; return after the delivery."""
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
        reply, error = _run_app(app, message, context)
        connection.send(reply, time.monotonic() - start)
        waiting_since = time.monotonic()
        if message.metadata.message_type.startswith("query"):
            if error is not None:
                raise RunFailedError(f"the final model was not stored: {error}") from error
            _wait_for_end(connection, message.metadata.run_id, stop)
            return
        if error is not None:
            # The same error would come back in every round.
            raise error
    raise RunCancelledError("the run was left")


def _wait_for_end(connection: Any, run_id: int, stop: threading.Event) -> None:
    """Stay until the run is over: Flower drops the reply of a robot that disconnects."""
    deadline = time.monotonic() + _FAREWELL_SEC
    while time.monotonic() < deadline and not connection.run_ended(run_id):
        if stop.wait(_FAREWELL_POLL_SEC):
            return


def _run_app(app: Any, message: Any, context: Any) -> tuple[Any, Exception | None]:
    """Return the app's reply; after an error a reply that tells the server the reason."""
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
    """Give the robot's other processes precedence: more processor time, a later OOM kill."""
    os.nice(nice)
    try:
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)
    except OSError as error:
        _logger.info("the OOM killer treats this worker as any other process: %s", error)


def main() -> int:
    """Run the worker; return its exit code: 0 delivered, 1 failed, 3 cancelled."""
    stdout = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # one line for each poll
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    # A Ctrl-C in the terminal reaches the whole process group; the node decides what to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
    events = EventWriter(stdout)
    try:
        job = Job.from_json(sys.stdin.readline())
        commands = CommandReader(sys.stdin)
        signal.signal(signal.SIGTERM, lambda *_: commands.stop.set())
        run_job(job, events, commands.stop)
    except RunCancelledError:
        return 3
    except FlRobotError as error:
        _logger.error("%s", error)
        events.write(Failed(str(error)))
        return 1
    except Exception as error:
        _logger.exception("the worker failed")
        events.write(Failed(f"{type(error).__name__}: {error}"))
        return 1
    return 0


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    # Threads of Flower and TensorFlow must not keep a finished worker alive.
    os._exit(code)
