"""Robots that speak the product's own protocol and learn without TensorFlow or images.

Connection, messages and pace are those of the fleet worker; the work is a step of the weights
towards an optimum that differs a little from robot to robot, as their data would. Many of them
fit into one process:

    python light_robot.py 127.0.0.1:8000 --robots 32

It prints a line when a robot begins and ends training, and at last one line of JSON: how many
requests of each kind were made, and which robots failed, and why.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Context, Message
from flwr.proto.message_pb2 import PushObjectResponse
from numpy.typing import NDArray

from fl_robot_ros.errors import FlRobotError, ProtocolError
from fl_robot_ros.federation import protocol
from fl_robot_ros.identity.enrolment import Enrolment
from fl_robot_ros.worker.first_contact import read_certificates
from fl_robot_ros.worker.fleet_connection import FleetConnection, connect
from fl_robot_ros.worker.pause import Pause
from fl_robot_ros.worker.worker import _reply_until_delivered
from fl_robot_ros.worker_link.event import EventWriter

_OPTIMUM_SEED = 2026
_STEP = 0.3
_OWN = 0.03
_EXAMPLES = 100


class Behaviour(Enum):
    """What a robot does when it is asked to train."""

    SOUND = "sound"
    NAN = "nan"  # weights that are no numbers
    FAILS = "fails"  # an error instead of weights
    SILENT = "silent"  # announces its replies, and never sends them
    HANGS = "hangs"  # never replies
    DIES = "dies"  # takes its whole process along
    LARGE = "large"  # a reply of `reply_mb` instead of the model


def optimum(size: int) -> NDArray[np.float32]:
    """Return the mean of the robots' optima, float32 (size,)."""
    return np.random.default_rng(_OPTIMUM_SEED).normal(0.0, 0.1, size).astype(np.float32)


def distance(weights: NDArray[np.float32]) -> float:
    """Return how far weights are from the optimum: 0 there, about 1 at the start."""
    best = optimum(weights.size)
    return float(np.linalg.norm(weights - best) / np.linalg.norm(best))


@dataclass
class LightRobot:
    """One robot of one run.

    Attributes:
        name: The robot's name.
        work_sec: How long it trains.
        behaviour: What it does when it is asked to train.
        factor: Multiplies its update.
        examples: Images that it claims to have trained on.
        reply_mb: Size of a large reply.
        stop: Ends its part in the run.
        error: Why it failed, None so far.
    """

    name: str
    work_sec: float = 0.0
    behaviour: Behaviour = Behaviour.SOUND
    factor: float = 1.0
    examples: int = _EXAMPLES
    reply_mb: int = 500
    stop: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None
    connection: FleetConnection | None = None
    _introduced_as: int = 0

    def __call__(self, message: Message, context: Context) -> Message:
        """Reply to a message, as the product's ClientApp does."""
        farewell = protocol.unpack_farewell(message)
        if farewell is not None:
            print(f"{self.name} gets no model: {farewell}", flush=True)
            return protocol.reply(message, {})
        request = protocol.unpack_request(message)
        start = time.monotonic()
        weights = None
        texts = {}
        if message.metadata.message_type == "train":
            print(f"{self.name} trains for round {request.server_round}", flush=True)
            weights = self._train(request)
            print(f"{self.name} trained for round {request.server_round}", flush=True)
        elif message.metadata.message_type == "query":
            texts[protocol.DELIVERED_VERSION] = "v00001"
        if self._introduced_as != context.node_id:
            self._introduced_as = context.node_id
            texts[protocol.ROBOT] = self.name
        off = distance(request.weights.astype(np.float32))
        metrics: protocol.Metrics = {
            protocol.NUM_EXAMPLES: self.examples,
            protocol.LOSS: off,
            protocol.ACCURACY: max(0.0, 1.0 - off),
            protocol.SECONDS: time.monotonic() - start,
        }
        if weights is not None:
            share, rest = divmod(self.examples, len(request.config.classes))
            counts = [share + (number < rest) for number in range(len(request.config.classes))]
            metrics[protocol.CLASS_COUNTS] = counts
        return protocol.reply(message, metrics, weights, texts)

    def _train(self, request: protocol.Request) -> NDArray[np.float32]:
        self.stop.wait(self.work_sec)
        if self.behaviour is Behaviour.HANGS:
            self.stop.wait()
        if self.behaviour is Behaviour.DIES:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.behaviour is Behaviour.FAILS:
            raise ProtocolError("this robot fails in every round")
        before = request.weights.astype(np.float32)
        if self.behaviour is Behaviour.NAN:
            return np.full_like(before, np.nan)
        if self.behaviour is Behaviour.LARGE:
            return np.zeros(self.reply_mb * 1_000_000 // 4, np.float32)
        own = np.random.default_rng([*self.name.encode()]).normal(0.0, _OWN, before.size)
        update = _STEP * (optimum(before.size) + own - before)
        return (before + self.factor * update).astype(np.float32)

    def run(
        self, address: str, certificates: str, enrolment: Enrolment | None, timeout_sec: float
    ) -> None:
        """Take part in a run until the delivery, an error, or `stop`.

        Args:
            address: host:port of the server.
            certificates: The server's certificate authority, PEM; "" for plain HTTP.
            enrolment: The robot's enrolment, None without one.
            timeout_sec: How long to repeat a request while the server is away.
        """
        try:
            with connect(
                address,
                certificates=certificates,
                enrolment=enrolment,
                server_timeout_sec=timeout_sec,
            ) as connection:
                self.connection = connection
                if self.behaviour is Behaviour.SILENT:
                    _keep_objects_back(connection)
                events = EventWriter()
                _reply_until_delivered(connection, self, events, Pause(events, timeout_sec))
        except FlRobotError as error:
            self.error = error


def _keep_objects_back(connection: FleetConnection) -> None:
    """Have a connection announce replies without sending them."""
    call = connection._client.call

    def announce(path: str, request: Any, response: Any, **options: Any) -> Any:
        if path == "push-object":
            return PushObjectResponse(stored=True)
        return call(path, request, response, **options)

    connection._client.call = announce  # type: ignore[method-assign]


class RequestCount(logging.Handler):
    """Counts the requests that go out, by the last part of their path."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.by_kind: Counter[str] = Counter()
        log = logging.getLogger("httpx")
        log.setLevel(logging.INFO)
        log.propagate = False
        log.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(record.args, tuple) and len(record.args) > 1:
            self.by_kind[str(record.args[1]).rpartition("/")[2]] += 1


def main() -> int:
    """Run robots in this process; return 0 if all got the final model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("address", metavar="HOST:PORT")
    parser.add_argument("--robots", type=int, default=1, help="how many (default 1)")
    parser.add_argument("--name", default="light", help="prefix of their names")
    parser.add_argument("--work-sec", type=float, default=0.0, help="time to train in a round")
    parser.add_argument("--behaviour", type=Behaviour, default=Behaviour.SOUND)
    parser.add_argument("--factor", type=float, default=1.0, help="multiplies every update")
    parser.add_argument("--examples", type=int, default=_EXAMPLES, help="images claimed")
    parser.add_argument("--reply-mb", type=int, default=500, help="size of a large reply")
    parser.add_argument("--root-certificates", default="", metavar="FILE")
    parser.add_argument("--enrolments", default="", metavar="DIR", help="a file NAME.json each")
    parser.add_argument("--timeout-sec", type=float, default=60.0, help="patience with the server")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as the worker: its parent decides
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    requests = RequestCount()
    robots = [
        LightRobot(
            f"{options.name}{number}",
            work_sec=options.work_sec,
            behaviour=options.behaviour,
            factor=options.factor,
            examples=options.examples,
            reply_mb=options.reply_mb,
            stop=stop,
        )
        for number in range(options.robots)
    ]
    threads = []
    for robot in robots:
        enrolment = None
        if options.enrolments:
            enrolment = Enrolment.load(Path(options.enrolments) / f"{robot.name}.json")
        certificates = read_certificates(options.root_certificates, enrolment)
        arguments = (options.address, certificates, enrolment, options.timeout_sec)
        threads.append(threading.Thread(target=robot.run, args=arguments))
        threads[-1].start()
    while any(thread.is_alive() for thread in threads) and not stop.wait(0.1):
        pass
    if stop.is_set():
        for robot in robots:
            if robot.connection is not None:
                robot.connection.close()
    failed = {robot.name: str(robot.error) for robot in robots if robot.error is not None}
    print(json.dumps({"requests": requests.by_kind, "failed": failed}), flush=True)
    sys.stderr.flush()
    # Threads of Flower must not keep the process alive.
    os._exit(1 if failed else 0)


if __name__ == "__main__":
    main()
