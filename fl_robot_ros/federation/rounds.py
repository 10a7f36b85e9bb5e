"""One run of the fleet: rounds of training, aggregation and evaluation, then the delivery."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from flwr.app import Message
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy
from numpy.typing import NDArray

from fl_robot_ros.config import ServerSettings
from fl_robot_ros.errors import ModelError, RunFailedError
from fl_robot_ros.federation import protocol
from fl_robot_ros.federation.checkpoint import GlobalModel
from fl_robot_ros.federation.exchange import ask
from fl_robot_ros.federation.history import History, RoundRecord, RunRecord
from fl_robot_ros.federation.protocol import RunConfig
from fl_robot_ros.federation.update_check import Answer, check_answers
from fl_robot_ros.learning.weights import check_weights

TRAIN, EVALUATE, QUERY = "train", "evaluate", "query"
_NODE_POLL_SEC = 0.25
_WAITING_NOTE_SEC = 30.0
_DELIVERY_TIMEOUT_SEC = 300.0
_MAX_ATTEMPTS = 5


@dataclass
class Fleet:
    """A run in progress.

    Attributes:
        grid: Flower's Grid.
        settings: The server's settings.
        history: Where rounds, answers and lines for the operator go.
        strategy: Flower strategy that averages the accepted answers.
        record: The run.
        save: Stores a checkpoint at the end of a round.
    """

    grid: Grid
    settings: ServerSettings
    history: History
    strategy: Strategy
    record: RunRecord
    save: Callable[[GlobalModel], Any]
    _names: dict[int, str] = field(default_factory=dict)

    def run(self, model: GlobalModel) -> GlobalModel:
        """Do all rounds of the run that are left, then deliver; return the final model.

        Raises:
            RunFailedError: No robot's update counted, several times in a row.
            ModelError: A checkpoint cannot be written.
        """
        took_part: set[int] = set()
        for server_round in range(model.server_round + 1, self.record.last_round + 1):
            model = self._round(replace(model, server_round=server_round), took_part)
        self._deliver(model, took_part)
        return model

    def _round(self, model: GlobalModel, took_part: set[int]) -> GlobalModel:
        """Do one round, again if no robot's update counts.

        Raises:
            RunFailedError: No update counted in several attempts.
        """
        for attempt in range(1, _MAX_ATTEMPTS + 1):
            nodes = self._wait_for_robots()
            start = time.monotonic()
            trainers = self._sample(nodes, self.settings.fraction_train, model.server_round)
            trained = self._ask(TRAIN, model, trainers)
            accepted = [answer for answer in trained if answer.accepted]
            self._report_refusals(model.server_round, trained)
            if accepted:
                break
            if attempt == _MAX_ATTEMPTS:
                raise RunFailedError(
                    f"round {model.server_round}: no update counted in {attempt} attempts"
                )
            time.sleep(2.0 ** (attempt - 1))
        model = replace(model, weights=self._aggregate(model, accepted))

        evaluators = self._sample(
            self._online(), self.settings.fraction_evaluate, model.server_round
        )
        evaluated = self._ask(EVALUATE, model, evaluators)
        self._report_refusals(model.server_round, evaluated)
        took_part.update(answer.node_id for answer in [*accepted, *evaluated] if answer.accepted)
        self.save(model)
        self._report_round(model.server_round, accepted, evaluated, time.monotonic() - start)
        return model

    def _online(self) -> list[int]:
        return sorted(self.grid.get_node_ids())

    def _wait_for_robots(self) -> list[int]:
        """Return the connected robots as soon as there are enough."""
        noted: tuple[int, float] | None = None
        while len(nodes := self._online()) < self.settings.min_nodes:
            now = time.monotonic()
            if noted is None or noted[0] != len(nodes) or now - noted[1] > _WAITING_NOTE_SEC:
                self.history.add_event(
                    f"waiting for robots: {len(nodes)} of {self.settings.min_nodes} connected"
                )
                noted = (len(nodes), now)
            time.sleep(_NODE_POLL_SEC)
        return nodes

    def _sample(self, nodes: Sequence[int], fraction: float, server_round: int) -> list[int]:
        """Draw robots for a phase: the fraction of them, at least `min_nodes`."""
        size = max(int(len(nodes) * fraction), self.settings.min_nodes)
        generator = random.Random(self.settings.seed + server_round)
        return sorted(generator.sample(nodes, min(size, len(nodes))))

    def _ask(
        self,
        phase: str,
        model: GlobalModel,
        nodes: Sequence[int],
    ) -> list[Answer]:
        """Send the model to robots and return their checked answers."""
        settings = self.settings
        config = RunConfig(
            run=self.record.run,
            last_round=self.record.last_round,
            architecture=model.architecture,
            classes=model.classes,
            preprocessing=model.preprocessing,
            local_epochs=settings.local_epochs,
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            seed=settings.seed,
        )
        replies = ask(
            self.grid,
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
        answers = check_answers(
            replies,
            nodes,
            num_weights=model.weights.size if phase == TRAIN else None,
            max_examples=settings.max_examples,
        )
        answers = [self._named(answer) for answer in answers]
        self.history.add_answers(model.server_round, phase, answers)
        return answers

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
        arrays, _ = self.strategy.aggregate_train(model.server_round, messages)
        if arrays is None:
            raise ModelError("the strategy aggregated nothing")
        mean = arrays[protocol.WEIGHTS].numpy().astype(np.float32)
        return check_weights(mean, model.weights.size)

    def _deliver(self, model: GlobalModel, took_part: set[int]) -> None:
        """Send the final model to the robots that took part and are still there."""
        nodes = [node for node in self._online() if node in took_part]
        answers = self._ask(QUERY, model, nodes)
        self._report_refusals(model.server_round, answers)
        delivered = sorted(answer.robot for answer in answers if answer.accepted)
        self.history.add_event(
            f"run {self.record.run}: model of round {model.server_round} delivered to "
            f"{', '.join(delivered) or 'no robot'}"
        )

    def _report_refusals(self, server_round: int, answers: Sequence[Answer]) -> None:
        for answer in answers:
            if not answer.accepted:
                self.history.add_event(f"round {server_round}: {answer.robot}: {answer.reason}")

    def _report_round(
        self,
        server_round: int,
        trained: Sequence[Answer],
        evaluated: Sequence[Answer],
        wall_sec: float,
    ) -> None:
        """Note the round's numbers, and one line for the operator."""
        counted = [answer for answer in evaluated if answer.accepted]
        train_sec = {answer.node_id: answer.seconds for answer in trained}
        evaluate_sec = {answer.node_id: answer.seconds for answer in counted}
        record = RoundRecord(
            round=server_round,
            run=self.record.run,
            robots=len(trained),
            num_examples=sum(answer.num_examples for answer in trained),
            train_loss=_weighted_mean(trained, "loss"),
            loss=_weighted_mean(counted, "loss"),
            accuracy=_weighted_mean(counted, "accuracy"),
            wall_sec=wall_sec,
            robot_compute_sec=max(
                train_sec.get(node, 0.0) + evaluate_sec.get(node, 0.0)
                for node in train_sec | evaluate_sec
            ),
        )
        self.history.add_round(record)
        self.history.add_event(describe_round(record, self.record.last_round))


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
