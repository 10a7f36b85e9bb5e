"""One run of the fleet: rounds of training and aggregation, then the delivery.

A robot evaluates the global model of a round just before it trains from it in the next one: both
messages go out together, so that a round is one trip to the robots and not two.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from flwr.app import Message
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy
from numpy.typing import NDArray

from fl_robot_ros.cloud.checkpoint import GlobalModel
from fl_robot_ros.cloud.exchange import Question
from fl_robot_ros.cloud.history import History, RoundRecord, RunRecord
from fl_robot_ros.cloud.update_check import Answer, check_answers
from fl_robot_ros.config import ServerSettings
from fl_robot_ros.errors import ModelError, RunFailedError
from fl_robot_ros.federation import protocol
from fl_robot_ros.federation.protocol import RunConfig
from fl_robot_ros.learning.weights import check_weights
from fl_robot_ros.name_list import name_list

TRAIN, EVALUATE, QUERY = "train", "evaluate", "query"
_NODE_POLL_SEC = 0.25
_WAITING_NOTE_SEC = 30.0
_DELIVERY_TIMEOUT_SEC = 300.0
_MAX_ATTEMPTS = 5


class Fleet:
    """A run in progress."""

    def __init__(
        self,
        *,
        grid: Grid,
        settings: ServerSettings,
        history: History,
        strategy: Strategy,
        record: RunRecord,
        save: Callable[[GlobalModel], Any],
    ) -> None:
        """Prepare.

        Args:
            grid: Flower's Grid.
            settings: The server's settings.
            history: Where rounds, answers and lines for the operator go.
            strategy: Flower strategy that averages the accepted answers.
            record: The run.
            save: Stores a checkpoint.
        """
        self._grid = grid
        self._settings = settings
        self._history = history
        self._strategy = strategy
        self._record = record
        self._save = save
        self._names = history.robot_names()
        self._clock = _RoundClock()
        self._evaluation: tuple[RoundRecord, Question] | None = None

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
            accepted = self._train(model)
            model = replace(model, weights=self._aggregate(model, accepted))
            self._save(model)
            record = self._record_round(server_round, accepted)
            self._ask_to_evaluate(model, record)
        self._finish_evaluation()
        self._deliver(model)
        return model

    def _train(self, model: GlobalModel) -> list[Answer]:
        """Have robots train; return the updates that count, at least one.

        Raises:
            RunFailedError: No update counted in several attempts.
        """
        for attempt in range(_MAX_ATTEMPTS):
            if attempt:
                time.sleep(2.0 ** (attempt - 1))
            nodes = self._wait_for_robots()
            trainers = self._sample(nodes, self._settings.fraction_train, model.server_round)
            question = self._ask(TRAIN, model, trainers)
            self._finish_evaluation()  # which the robots do before they train
            accepted = self._answers(TRAIN, model.server_round, question, model.weights.size)
            if accepted:
                return accepted
        raise RunFailedError(
            f"round {model.server_round}: no update counted in {_MAX_ATTEMPTS} attempts"
        )

    def _ask_to_evaluate(self, model: GlobalModel, record: RoundRecord) -> None:
        """Have robots evaluate the model of a round, and go on."""
        evaluators = self._sample(
            self._online(), self._settings.fraction_evaluate, model.server_round
        )
        self._evaluation = record, self._ask(EVALUATE, model, evaluators)

    def _finish_evaluation(self) -> None:
        """Wait for the evaluation that is under way, if there is one, and report its round."""
        if self._evaluation is None:
            return
        record, question = self._evaluation
        self._evaluation = None
        evaluated = self._answers(EVALUATE, record.round, question)
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
        """Return the connected robots as soon as there are enough."""
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
            time.sleep(_NODE_POLL_SEC)
        self._clock = _RoundClock()
        return nodes

    def _sample(self, nodes: Sequence[int], fraction: float, server_round: int) -> list[int]:
        """Draw robots for a phase: the fraction of them, at least `min_nodes`."""
        size = max(int(len(nodes) * fraction), self._settings.min_nodes)
        generator = random.Random(self._settings.seed + server_round)
        return sorted(generator.sample(nodes, min(size, len(nodes))))

    def _ask(self, phase: str, model: GlobalModel, nodes: Sequence[int]) -> Question:
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
            seed=settings.seed,
        )
        return Question(
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

    def _answers(
        self, phase: str, server_round: int, question: Question, num_weights: int | None = None
    ) -> list[Answer]:
        """Wait for answers, check and note them; return those that count.

        Args:
            phase: What was asked.
            server_round: In which round.
            question: What was sent.
            num_weights: Size of the global model; None where no weights are expected.
        """
        answers = check_answers(
            question.answers(),
            question.node_ids,
            num_weights=num_weights,
            max_examples=self._settings.max_examples,
        )
        answers = [self._named(answer) for answer in answers]
        self._history.add_answers(server_round, phase, answers)
        for answer in answers:
            if not answer.accepted:
                self._history.add_event(f"round {server_round}: {answer.robot}: {answer.reason}")
        accepted = [answer for answer in answers if answer.accepted]
        self._clock.add(accepted)
        return accepted

    def _named(self, answer: Answer) -> Answer:
        """Return the answer with the name that the robot gave with its first one."""
        if answer.is_named:
            self._names[answer.node_id] = answer.robot
        return replace(answer, robot=self._names.get(answer.node_id, answer.robot))

    def _aggregate(self, model: GlobalModel, accepted: Sequence[Answer]) -> NDArray[np.float32]:
        """Return the new global weights, float32 (number of weights,).

        Raises:
            ModelError: The strategy gave something that cannot be weights of this model.
        """
        messages = [answer.message for answer in accepted if answer.message is not None]
        for message in messages:
            _keep_only(message, protocol.METRICS, protocol.NUM_EXAMPLES)
        arrays, _ = self._strategy.aggregate_train(model.server_round, messages)
        if arrays is None:
            raise ModelError("the strategy aggregated nothing")
        mean = arrays[protocol.WEIGHTS].numpy().astype(np.float32)
        return check_weights(mean, model.weights.size)

    def _record_round(self, server_round: int, trained: Sequence[Answer]) -> RoundRecord:
        """Note a round whose model is there and not yet evaluated."""
        wall_sec, robot_compute_sec = self._clock.lap()
        record = RoundRecord(
            round=server_round,
            run=self._record.run,
            robots=len(trained),
            num_examples=sum(answer.num_examples for answer in trained),
            train_loss=_weighted_mean(trained, "loss"),
            loss=None,
            accuracy=None,
            wall_sec=wall_sec,
            robot_compute_sec=robot_compute_sec,
        )
        self._history.add_round(record)
        return record

    def _deliver(self, model: GlobalModel) -> None:
        """Send the final model to the robots that took part and are still there."""
        record = self._record
        took_part = self._history.participants(record.first_round, record.last_round)
        nodes = [node for node in self._online() if node in took_part]
        question = self._ask(QUERY, model, nodes)
        answers = self._answers(QUERY, model.server_round, question)
        delivered = sorted(answer.robot for answer in answers)
        self._history.add_event(
            f"run {record.run}: model of round {model.server_round} delivered to "
            f"{name_list(delivered) or 'no robot'}"
        )


class _RoundClock:
    """Tells how long a round took, and how long of it the slowest robot worked."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._work_sec: dict[int, float] = {}

    def add(self, answers: Sequence[Answer]) -> None:
        """Count what robots say of the time that their work took."""
        for answer in answers:
            self._work_sec[answer.node_id] = (
                self._work_sec.get(answer.node_id, 0.0) + answer.seconds
            )

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


def _weighted_mean(answers: Sequence[Answer], name: str) -> float | None:
    """Return the mean of a metric over the answers, weighted by their images."""
    total = sum(answer.num_examples for answer in answers)
    if not total:
        return None
    return float(sum(getattr(answer, name) * answer.num_examples for answer in answers) / total)


def _keep_only(message: Message, record: str, key: str) -> None:
    """Drop all other metrics: Flower's strategies want the same ones from every robot."""
    metrics = message.content.metric_records[record]
    for name in list(metrics):
        if name != key:
            del metrics[name]
