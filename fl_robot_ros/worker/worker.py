"""The fleet worker: the process in which one robot takes part in a run.

The ROS node starts `python -m fl_robot_ros.worker.worker`, writes a job (`worker_link.job`) as the
first line of standard input and reads events (`worker_link.event`) from standard output. A later
line `cancel`, or the end of the input because the node is gone, makes the worker leave the run;
`pause` and a reason stops its work until the line `resume` (`worker.pause`).

If the job says so (`keep_warm`), the process stays after the run, tells it with the event `Ended`,
and takes the next line of a job for another run. It keeps what was imported and its trainer. After
an error of its own it ends, and with it whatever caused the error.

The output of libraries goes to standard error.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from fl_robot_ros.capture.malloc import return_memory
from fl_robot_ros.dataset.dataset import Dataset
from fl_robot_ros.dataset.snapshot import freeze
from fl_robot_ros.errors import (
    FlRobotError,
    NoRunError,
    PauseTooLongError,
    RunFailedError,
    ServerUnreachableError,
)
from fl_robot_ros.identity.enrolment import Enrolment
from fl_robot_ros.one_line import one_line
from fl_robot_ros.worker.first_contact import introduce, read_certificates
from fl_robot_ros.worker.guard import FAILED_CODE, Guard
from fl_robot_ros.worker.kept_trainer import KeptTrainer
from fl_robot_ros.worker.pause import Pause
from fl_robot_ros.worker.reachability import wait_for_listener
from fl_robot_ros.worker_link.event import (
    Dropped,
    Ended,
    EventWriter,
    Failed,
    Frozen,
    Progress,
    Reading,
)
from fl_robot_ros.worker_link.job import FreezeRequest, Job
from fl_robot_ros.worker_link.run_status import RunState

_SNAPSHOTS_KEPT = 3
# Polls are frequent while messages come quickly, and rare during a long wait: polling adds a
# twentieth of the wait.
_POLL_SHARE = 0.05
_MIN_POLL_SEC = 0.1
_MAX_POLL_SEC = 2.0
# How long the server may take to read the last reply.
_FAREWELL_SEC = 120.0
# The same after the delivery, when there is nothing more to lose.
_DELIVERED_SEC = 30.0
_OOM_SCORE = "500"  # of 1000; the node has 0
# Ends of a run that say nothing against the process.
_HARMLESS = (ServerUnreachableError, PauseTooLongError)

_logger = logging.getLogger(__name__)


class FleetWorker:
    """One process, which does runs one after the other."""

    def __init__(self, events: EventWriter, guard: Guard, pause: Pause) -> None:
        """Do nothing yet.

        Args:
            events: Tells the node what happens.
            guard: Ends the process when it must.
            pause: Stops the work; one object for all runs, which the kept trainer knows.
        """
        self._events = events
        self._guard = guard
        self._pause = pause
        self._kept = KeptTrainer()
        self._is_settled = False

    def run(self, job: Job) -> None:
        """Take part in one run, from the snapshot to the delivery of the final model.

        Raises:
            ServerUnreachableError: The server is not there, or went away for too long.
            FlRobotError: The data, the model or the server's messages cannot be used.
        """
        events, pause = self._events, self._pause
        snapshot = None
        if job.freeze is not None:
            snapshot = _freeze(job.freeze, job.source.holdout_fraction, events)
        self._settle(job)
        events.write(Progress(RunState.CONNECTING))
        pause.wait()
        enrolment = Enrolment.load(Path(job.enrolment)) if job.enrolment else None
        certificates = read_certificates(job.root_certificates, enrolment)
        wait_for_listener(job.server_address, job.connect_timeout_sec)
        introduce(job.server_address, certificates, enrolment, job.connect_timeout_sec)
        pause.wait()
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
            publication=job.publication,
            snapshot=snapshot.stem if snapshot else "",
            server=job.server_address,
            events=events,
            enrolment=enrolment,
            memory_limit_mb=job.memory_limit_mb,
            deadline=self._guard.deadline,
            wait=pause.wait,
            hindrances=job.hindrances,
            kept=self._kept,
        )
        client_app.set_participant(participant)
        try:
            with connect(
                job.server_address,
                certificates=certificates,
                enrolment=enrolment,
                server_timeout_sec=job.server_timeout_sec,
            ) as connection:
                self._guard.connection = connection
                events.write(Progress(RunState.WAITING))
                _reply_until_delivered(connection, client_app.app, events, pause)
        finally:
            self._guard.connection = None
            client_app.forget_participant()

    def _settle(self, job: Job) -> None:
        """Take what the first job says of the process, see `Job.can_follow`."""
        if self._is_settled:
            return
        self._is_settled = True
        _step_back(job.nice)
        self._guard.limit_memory(job.memory_limit_mb)
        if job.threads:  # read when TensorFlow is loaded
            os.environ["TF_NUM_INTRAOP_THREADS"] = str(job.threads)
            os.environ["TF_NUM_INTEROP_THREADS"] = str(job.threads)


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


def _reply_until_delivered(connection: Any, app: Any, events: EventWriter, pause: Pause) -> None:
    """Reply to one message after another; return after the delivery.

    Raises:
        ServerUnreachableError: The server went away for too long.
        FlRobotError: The robot cannot do its part; the server was told the reason.
    """
    from flwr.app import Context, RecordDict

    waiting_since = time.monotonic()
    while True:
        asked_at = time.monotonic()
        message = connection.receive()
        if message is None:
            pause.check()
            _rest(waiting_since, asked_at)
            continue
        context = Context(
            run_id=message.metadata.run_id,
            node_id=connection.node_id,
            node_config={},
            state=RecordDict(),
            run_config={},
        )
        start = time.monotonic()
        reply, error = _run_app(app, message, context, pause)
        is_last = message.metadata.message_type.startswith("query")
        if error is not None:
            if is_last:
                error = RunFailedError(f"the final model was not stored: {error}")
            events.write(_failed(error))
            _tell(connection, reply, str(error))
            # The same error would come back in every round.
            raise error
        if is_last:
            _take_leave(connection, reply, time.monotonic() - start)
            return
        problem = connection.send(reply, time.monotonic() - start)
        if problem:
            events.write(Dropped(problem))
        waiting_since = time.monotonic()


def _take_leave(connection: Any, reply: Any, seconds: float) -> None:
    """Tell the server of the delivery; the model is stored, whether it hears of it or not."""
    try:
        connection.send(reply, seconds, within_sec=_DELIVERED_SEC)
        connection.wait_until_settled(reply, _DELIVERED_SEC)
    except ServerUnreachableError as error:
        _logger.warning("the server did not hear of the delivery: %s", error)


def _rest(waiting_since: float, asked_at: float) -> None:
    """Wait until the next poll; the time that the server held the last one counts."""
    now = time.monotonic()
    rest_sec = min((now - waiting_since) * _POLL_SHARE, _MAX_POLL_SEC)
    time.sleep(max(rest_sec - (now - asked_at), _MIN_POLL_SEC))


def _run_app(app: Any, message: Any, context: Any, pause: Pause) -> tuple[Any, Exception | None]:
    """Return the app's reply; after an error a reply that tells the server the reason."""
    from fl_robot_ros.worker.fleet_connection import error_reply

    try:
        pause.wait()
        return app(message, context), None
    except FlRobotError as error:
        return error_reply(message, str(error)), error
    except Exception as error:
        _logger.exception("the ClientApp failed")
        failure = RunFailedError(f"{type(error).__name__}: {error}")
        return error_reply(message, str(failure)), failure


def _tell(connection: Any, reply: Any, reason: str) -> None:
    """Stay until the server has read why this robot leaves; its other requests get it too."""
    from fl_robot_ros.worker.fleet_connection import error_reply

    waiting_since = time.monotonic()
    unread = []
    try:
        while time.monotonic() - waiting_since < _FAREWELL_SEC:
            if reply is not None:
                connection.send(reply, 0.0)
                unread.append(reply)
            asked_at = time.monotonic()
            message = connection.receive()
            reply = None if message is None else error_reply(message, reason)
            unread = [one for one in unread if not connection.is_settled(one)]
            if not unread and reply is None:
                _logger.info("the server knows why this robot leaves")
                return
            if reply is None:
                _rest(waiting_since, asked_at)
        _logger.warning("the server did not read why this robot leaves")
    except FlRobotError as error:
        _logger.warning("the server cannot be told why this robot leaves: %s", error)


def _failed(error: Exception) -> Failed:
    """Return the event of an error that ends the run."""
    return Failed(
        one_line(str(error)),
        come_back_sec=error.come_back_sec if isinstance(error, NoRunError) else 0.0,
        is_fault=not isinstance(error, PauseTooLongError),
    )


def _step_back(nice: int) -> None:
    """Give the robot's other processes precedence: more processor time, a later OOM kill."""
    os.nice(nice)
    try:
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)
    except OSError as error:
        _logger.info("the OOM killer treats this worker as any other process: %s", error)


def _run(worker: FleetWorker, job: Job, events: EventWriter) -> None:
    """Do a job; what ended its run is told here, where the process shall stay all the same.

    Raises:
        FlRobotError: The run ended, and the process shall.
    """
    try:
        worker.run(job)
    except _HARMLESS as error:
        if not job.keep_warm:
            raise
        _logger.error("%s", error)
        events.write(_failed(error))


class _OneLineFormatter(logging.Formatter):
    """Keeps control codes of others out of the log, which people read in a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        lines = super().format(record).splitlines()
        return "\n".join("".join(c if c.isprintable() else " " for c in line) for line in lines)


def main() -> int:
    """Run the worker; return its exit code: 0 delivered, 1 failed. A cancelled one ends with 3."""
    stdout = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLineFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("httpx").setLevel(logging.WARNING)  # one line for each poll
    # A Ctrl-C in the terminal reaches the whole process group; the node decides what to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
    events = EventWriter(stdout)
    guard = Guard(events)
    try:
        job = Job.from_json(sys.stdin.readline())
        pause = Pause(events, job.pause_max_sec)
        jobs = guard.obey(sys.stdin, pause)
        worker = FleetWorker(events, guard, pause)
        while True:
            _run(worker, job, events)
            if not job.keep_warm:
                return 0
            events.write(Ended())
            _logger.info("the worker waits for another run")
            gc.collect()
            return_memory()
            job = Job.from_json(jobs.get())
    except FlRobotError as error:
        _logger.error("%s", error)
        events.write(_failed(error))
        return FAILED_CODE
    except Exception as error:
        _logger.exception("the worker failed")
        events.write(Failed(one_line(f"{type(error).__name__}: {error}")))
        return FAILED_CODE


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    # Threads of Flower and TensorFlow must not keep a finished worker alive.
    os._exit(code)
