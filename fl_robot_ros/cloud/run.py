"""One run of the fleet: rounds of training and aggregation, then the delivery.

A robot evaluates the global model of a round just before it trains from that model in the next
round. Both requests go out together, so that a round is one trip to the robots.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

from flwr.serverapp import Grid

from fl_robot_ros.cloud.aggregation import Aggregation
from fl_robot_ros.cloud.checkpoint import GlobalModel
from fl_robot_ros.cloud.fleet_classes import FleetClasses
from fl_robot_ros.cloud.history import History, RoundRecord, RunRecord
from fl_robot_ros.cloud.sent_request import SentRequest
from fl_robot_ros.cloud.update_check import Reply, check_reply
from fl_robot_ros.config import ServerSettings
from fl_robot_ros.errors import ModelError, RunFailedError
from fl_robot_ros.federation import protocol
from fl_robot_ros.federation.protocol import RunConfig
from fl_robot_ros.name_list import name_list

TRAIN, EVALUATE, QUERY = "train", "evaluate", "query"
_NODE_POLL_SEC = 0.25
_WAITING_NOTE_SEC = 30.0
_DELIVERY_TIMEOUT_SEC = 300.0
_MAX_ATTEMPTS = 5


class Run:
    """A run in progress."""

    def __init__(
        self,
        *,
        grid: Grid,
        settings: ServerSettings,
        history: History,
        record: RunRecord,
        aggregation: Aggregation,
        save: Callable[[GlobalModel], Any],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Send nothing yet.

        Args:
            grid: Flower's Grid.
            settings: The server's settings.
            history: Takes rounds, replies and lines for the operator.
            record: The run.
            aggregation: Makes one model of the updates of a round.
            save: Stores a checkpoint.
            sleep: Waits for robots and before another attempt, in s.
        """
        self._grid = grid
        self._settings = settings
        self._history = history
        self._aggregation = aggregation
        self._classes = FleetClasses(len(settings.classes))
        self._record = record
        self._save = save
        self._sleep = sleep
        self._names = history.robot_names()
        self._clock = _RoundClock()
        self._evaluation: tuple[RoundRecord, SentRequest] | None = None

    def run(self, model: GlobalModel) -> GlobalModel:
        """Do all rounds of the run that are left, then deliver; return the final model.

        Raises:
            RunFailedError: No robot's update counted, several times in a row.
            ModelError: A checkpoint cannot be written.
        """
        for record in self._history.rounds():
            if record.round == model.server_round and record.accuracy is None:
                self._ask_to_evaluate(model, record)  # the server was stopped before
        for server_round in range(model.server_round + 1, self._record.last_round + 1):
            model = replace(model, server_round=server_round)
            model, accepted = self._train(model)
            self._save(model)
            record = self._record_round(server_round, accepted)
            self._ask_to_evaluate(model, record)
        self._finish_evaluation()
        self._deliver(model)
        return model

    def _train(self, model: GlobalModel) -> tuple[GlobalModel, list[Reply]]:
        """Have robots train; return the next model, and the updates in it.

        Raises:
            RunFailedError: No model came about in several attempts.
        """
        failed: set[int] = set()
        for attempt in range(_MAX_ATTEMPTS):
            if attempt:
                self._sleep(2.0 ** (attempt - 1))
            nodes = self._wait_for_robots()
            trainers = self._sample(
                nodes, self._settings.fraction_train, model.server_round, failed
            )
            request = self._send(TRAIN, model, trainers)
            self._finish_evaluation()  # robots evaluate before they train
            accepted = self._replies(TRAIN, model.server_round, request, model)
            aggregated = self._aggregate(model, accepted)
            if aggregated is not None:
                return aggregated, accepted
            failed.update(trainers)
        raise RunFailedError(
            f"round {model.server_round}: no update counted in {_MAX_ATTEMPTS} attempts"
        )

    def _ask_to_evaluate(self, model: GlobalModel, record: RoundRecord) -> None:
        """Have robots evaluate the model of a round, without waiting for them."""
        evaluators = self._sample(
            self._online(), self._settings.fraction_evaluate, model.server_round
        )
        self._evaluation = record, self._send(EVALUATE, model, evaluators)

    def _finish_evaluation(self) -> None:
        """Wait for the evaluation in progress, if there is one, and report its round."""
        if self._evaluation is None:
            return
        record, request = self._evaluation
        self._evaluation = None
        evaluated = self._replies(EVALUATE, record.round, request)
        record = replace(
            record,
            loss=_weighted_mean(evaluated, "loss"),
            accuracy=_weighted_mean(evaluated, "accuracy"),
        )
        self._history.add_round(record)
        self._history.add_event(describe_round(record, self._record.last_round))

    def _online(self) -> list[int]:
        return sorted(self._grid.get_node_ids())

    def _wait_for_robots(self) -> list[int]:
        """Wait for `min_nodes` connected robots; return all connected ones."""
        nodes = self._online()
        if len(nodes) >= self._settings.min_nodes:
            return nodes
        self._finish_evaluation()
        noted: tuple[int, float] | None = None
        while len(nodes := self._online()) < self._settings.min_nodes:
            now = time.monotonic()
            if noted is None or noted[0] != len(nodes) or now - noted[1] > _WAITING_NOTE_SEC:
                self._history.add_event(
                    f"waiting for robots: {len(nodes)} of {self._settings.min_nodes} connected"
                )
                noted = (len(nodes), now)
            self._sleep(_NODE_POLL_SEC)
        self._clock = _RoundClock()
        return nodes

    def _sample(
        self,
        nodes: Sequence[int],
        fraction: float,
        server_round: int,
        failed: Collection[int] = (),
    ) -> list[int]:
        """Draw robots for a phase: the fraction of them, at least `min_nodes`.

        Robots that failed in an earlier attempt are drawn only where the others are too few.
        """
        size = max(int(len(nodes) * fraction), self._settings.min_nodes)
        generator = random.Random(self._settings.seed + server_round)
        drawn = generator.sample(nodes, len(nodes))
        return sorted(sorted(drawn, key=lambda node: node in failed)[:size])

    def _send(self, phase: str, model: GlobalModel, nodes: Sequence[int]) -> SentRequest:
        """Send the model to robots."""
        settings = self._settings
        config = RunConfig(
            run=self._record.run,
            last_round=self._record.last_round,
            architecture=model.architecture,
            classes=model.classes,
            preprocessing=model.preprocessing,
            local_epochs=settings.local_epochs,
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            loss=settings.loss,
            absent_classes=self._classes.absent,
            seed=settings.seed,
        )
        return SentRequest(
            self._grid,
            protocol.pack_request(config, model.weights),
            phase,
            nodes,
            server_round=model.server_round,
            timeout_sec=(
                min(settings.round_timeout_sec, _DELIVERY_TIMEOUT_SEC)
                if phase == QUERY
                else settings.round_timeout_sec
            ),
        )

    def _replies(
        self, phase: str, server_round: int, request: SentRequest, model: GlobalModel | None = None
    ) -> list[Reply]:
        """Wait for replies, check and note them; return those that count.

        Args:
            phase: The request's message type.
            server_round: The request's round.
            request: The request.
            model: The global model that was trained; None if a reply has no weights.
        """
        messages, most = request.replies(), self._settings.max_examples
        num_weights = None if model is None else model.weights.size
        replies = [
            self._named(check_reply(node_id, messages.get(node_id), num_weights, most))
            for node_id in request.node_ids
        ]
        if model is not None:
            replies = self._aggregation.compare(model, replies)
        self._history.add_replies(server_round, phase, replies)
        for reply in replies:
            if not reply.accepted:
                self._history.add_event(f"round {server_round}: {reply.robot}: {reply.reason}")
        accepted = [reply for reply in replies if reply.accepted]
        self._classes.add(accepted)
        self._clock.add(accepted)
        return accepted

    def _named(self, reply: Reply) -> Reply:
        """Return the reply with the name that the robot gave in its first one."""
        if reply.is_named:
            self._names[reply.node_id] = reply.robot
        return replace(reply, robot=self._names.get(reply.node_id, reply.robot))

    def _aggregate(self, model: GlobalModel, accepted: Sequence[Reply]) -> GlobalModel | None:
        """Return the next global model; None if these updates make none."""
        if not accepted:
            return None
        try:
            return self._aggregation.aggregate(model, accepted)
        except ModelError as error:
            self._history.add_event(f"round {model.server_round}: {error}")
            return None

    def _record_round(self, server_round: int, trained: Sequence[Reply]) -> RoundRecord:
        """Note a round whose model is not evaluated yet."""
        wall_sec, robot_compute_sec = self._clock.lap()
        record = RoundRecord(
            round=server_round,
            run=self._record.run,
            robots=len(trained),
            num_examples=sum(reply.num_examples for reply in trained),
            train_loss=_weighted_mean(trained, "loss"),
            loss=None,
            accuracy=None,
            wall_sec=wall_sec,
            robot_compute_sec=robot_compute_sec,
        )
        self._history.add_round(record)
        return record

    def _deliver(self, model: GlobalModel) -> None:
        """Send the final model to the connected robots that took part."""
        record = self._record
        took_part = self._history.participants(record.first_round, record.last_round)
        nodes = [node for node in self._online() if node in took_part]
        request = self._send(QUERY, model, nodes)
        replies = self._replies(QUERY, model.server_round, request)
        delivered = sorted(reply.robot for reply in replies)
        self._history.add_event(
            f"run {record.run}: model of round {model.server_round} delivered to "
            f"{name_list(delivered) or 'no robot'}"
        )


class _RoundClock:
    """Measures the time of a round, and the work of its slowest robot."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._work_sec: dict[int, float] = {}

    def add(self, replies: Sequence[Reply]) -> None:
        """Add the working time that robots report."""
        for reply in replies:
            self._work_sec[reply.node_id] = self._work_sec.get(reply.node_id, 0.0) + reply.seconds

    def lap(self) -> tuple[float, float]:
        """Return the seconds of this round and of its slowest robot, and begin the next."""
        now = time.monotonic()
        lap = now - self._start, max(self._work_sec.values(), default=0.0)
        self._start, self._work_sec = now, {}
        return lap


def describe_round(record: RoundRecord, last_round: int) -> str:
    """Return one line about a round for the operator."""
    loss = "-" if record.loss is None else f"{record.loss:.4f}"
    accuracy = "-" if record.accuracy is None else f"{record.accuracy:.3f}"
    return (
        f"round {record.round}/{last_round}  robots {record.robots}  samples "
        f"{record.num_examples}  loss {loss}  accuracy {accuracy}  {record.wall_sec:.1f} s"
    )


def _weighted_mean(replies: Sequence[Reply], name: str) -> float | None:
    """Return the mean of a metric over the replies, weighted by their images."""
    total = sum(reply.num_examples for reply in replies)
    if not total:
        return None
    return float(sum(getattr(reply, name) * reply.num_examples for reply in replies) / total)
