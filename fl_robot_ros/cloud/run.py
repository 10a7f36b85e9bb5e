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
from fl_robot_ros.cloud.best_round import BestRound, Evaluation
from fl_robot_ros.cloud.checkpoint import GlobalModel
from fl_robot_ros.cloud.connected_robots import ConnectedRobots
from fl_robot_ros.cloud.delivery import Delivery
from fl_robot_ros.cloud.exchange import EVALUATE, TRAIN, Exchange
from fl_robot_ros.cloud.history import History, RoundRecord, RunRecord
from fl_robot_ros.cloud.late_replies import MOST_ROUNDS
from fl_robot_ros.cloud.round_clock import RoundClock
from fl_robot_ros.cloud.sent_request import Reader, SentRequest
from fl_robot_ros.cloud.update_check import Reply
from fl_robot_ros.config import ServerSettings
from fl_robot_ros.errors import ModelError, RunFailedError
from fl_robot_ros.identity.signed_model import Signature

_MAX_ATTEMPTS = 5
# Of so many runs the models can be released.
_KEPT_MODELS = 20
# So long robots have to connect again after a restart of the server.
_RETURN_SEC = 60.0


class Run:
    """A run in progress."""

    def __init__(
        self,
        *,
        grid: Grid,
        reader: Reader,
        settings: ServerSettings,
        history: History,
        record: RunRecord,
        aggregation: Aggregation,
        save: Callable[[GlobalModel, Collection[int]], Any],
        load: Callable[[int], GlobalModel],
        sleep: Callable[[float], None] = time.sleep,
        sign: Callable[[int, GlobalModel], Signature] | None = None,
        enrolled_name: Callable[[bytes], str] | None = None,
    ) -> None:
        """Send nothing yet.

        Args:
            grid: Flower's Grid.
            reader: Reads the robots' replies.
            settings: The server's settings.
            history: Takes rounds, replies and lines for the operator.
            record: The run.
            aggregation: Makes one model of the updates of a round.
            save: Stores a checkpoint, and keeps those of the rounds with the given numbers.
            load: Returns the checkpoint of a round; raises a ModelError where it cannot be read.
            sleep: Waits for robots and before another attempt, in s.
            sign: Signs the final model of a run, given the run's number; None: nobody does.
            enrolled_name: Returns the name of the robot with a public key; None: robots say their
                names themselves.
        """
        self._settings = settings
        self._history = history
        self._aggregation = aggregation
        self._record = record
        self._save = save
        self._load = load
        self._sleep = sleep
        self._sign = sign
        self._robots = ConnectedRobots(grid, history, sleep, enrolled_name)
        self._exchange = Exchange(
            grid,
            reader,
            settings,
            history,
            record.run,
            self._robots,
            aggregation,
            load=self._model_after,
        )
        self._began_with: GlobalModel | None = None
        self._evaluation: tuple[RoundRecord, SentRequest] | None = None
        self._evaluations = BestRound()
        self._met: set[int] = set()

    def run(self, model: GlobalModel) -> GlobalModel:
        """Do all rounds of the run that are left, then deliver; return the delivered model.

        Raises:
            RunFailedError: No robot's update counted, several times in a row.
            ModelError: A checkpoint cannot be written.
        """
        images = self._history.evaluated_images(self._record.run)
        for record in self._history.rounds():
            if record.round == model.server_round and record.accuracy is None:
                self._ask_to_evaluate(model, record)  # the server was stopped before
            elif record.round <= model.server_round:
                self._note_evaluation(record, images.get(record.round, 0))
        model = self._begin_with(model)
        if model.server_round < self._record.last_round and not self._reason_to_end():
            self._gather()
        for server_round in range(model.server_round + 1, self._record.last_round + 1):
            reason = self._reason_to_end()
            if reason:
                self._end_early(model, reason)
                break
            model = replace(model, server_round=server_round)
            model, accepted = self._train(model)
            self._save(model, self._kept_rounds())
            record = self._record_round(server_round, accepted)
            self._ask_to_evaluate(model, record)
        self._finish_evaluation()
        self._exchange.late.give_up()
        best = self._best_model(model)
        self._deliver(best)
        return best

    def _begin_with(self, model: GlobalModel) -> GlobalModel:
        """Return the model that the first round trains on: the last run's.

        A run may end worse than it was on its way; the next one does not go on from there.

        Args:
            model: The newest model.
        """
        newest, last = model.server_round, next(iter(self._history.releases.models()), None)
        rounds = self._history.rounds()
        if (
            newest + 1 != self._record.first_round
            or last is None
            or not rounds
            or (rounds[-1].round, rounds[-1].run) != (newest, last.run)
            or last.round == newest
        ):
            return model
        try:
            model = replace(self._load(last.round), server_round=newest)
        except ModelError as error:
            self._history.add_event(f"{error}; the run begins with round {newest} instead")
            return model
        self._history.add_event(
            f"the run begins with the model of round {last.round}, that of run {last.run}"
        )
        self._began_with = model
        return model

    def _model_after(self, number: int) -> GlobalModel:
        """Return the global model after a round, which the next one trains on.

        Raises:
            ModelError: Its checkpoint cannot be read.
        """
        first = self._began_with
        return first if first and first.server_round == number else self._load(number)

    def _kept_rounds(self) -> set[int]:
        """Return the rounds whose checkpoints must not be removed."""
        best = self._evaluations.best
        kept = self._history.releases.kept_rounds(_KEPT_MODELS)
        return kept | {best.round} if best else kept

    def _deliver(self, model: GlobalModel) -> None:
        """Deliver a model to the connected robots, but for those that came after the run's end."""
        if self._record.last_round < self._record.first_round:
            self._wait_for_robots()
            self._gather()
        elif not self._met:
            # The server was stopped in the delivery; perhaps nobody waits for it any more.
            self._met.update(self._robots.gather(self._robots.online(), _RETURN_SEC))
        nodes = [node for node in self._robots.reachable() if node in self._met]
        judged = self._evaluations[model.server_round]
        delivery = Delivery(
            self._settings,
            self._history,
            self._record,
            self._robots,
            self._exchange,
            self._load,
            self._sign,
        )
        delivery.deliver(model, judged.accuracy if judged else None, nodes)

    def _train(self, model: GlobalModel) -> tuple[GlobalModel, list[Reply]]:
        """Have robots train; return the next model, and the updates in it, `min_nodes` at least.

        Raises:
            RunFailedError: No model came about in several attempts.
        """
        settings, number = self._settings, model.server_round
        accepted: dict[int, Reply] = {}
        failed: set[int] = set()
        self._exchange.late.give_up(number - MOST_ROUNDS)
        for attempt in range(_MAX_ATTEMPTS):
            if attempt:
                self._sleep(2.0 ** (attempt - 1))
            nodes = [node for node in self._wait_for_robots() if node not in accepted]
            wanted = self._size(len(nodes) + len(accepted), settings.fraction_train)
            wanted = max(wanted - len(accepted), 1)
            trainers = self._sample(nodes, wanted + settings.over_select, number, failed)
            request = self._exchange.send(TRAIN, model, trainers, self._record.last_round)
            self._finish_evaluation()  # robots evaluate before they train
            replies = self._exchange.replies(
                TRAIN,
                number,
                request,
                model,
                before=[*accepted.values()],
                quorum=settings.min_nodes - len(accepted),
                enough=wanted,
            )
            accepted |= {reply.node_id: reply for reply in replies}
            failed.update(set(trainers) - set(accepted))
            if len(accepted) >= settings.min_nodes:
                trained = [*accepted.values()]
                trained += self._exchange.late.updates(model, trained, self._aggregation.compare)
                aggregated = self._aggregate(model, trained)
                if aggregated is not None:
                    return aggregated, trained
                failed.update(accepted)
                accepted = {}
        raise RunFailedError(
            f"round {number}: {len(accepted)} updates counted in {_MAX_ATTEMPTS} attempts; "
            f"min_nodes asks for {settings.min_nodes}"
        )

    def _ask_to_evaluate(self, model: GlobalModel, record: RoundRecord) -> None:
        """Have robots evaluate the model of a round, without waiting for them."""
        nodes = self._robots.online()
        size = self._size(len(nodes), self._settings.fraction_evaluate)
        evaluators = self._sample(nodes, size, model.server_round)
        request = self._exchange.send(EVALUATE, model, evaluators, self._record.last_round)
        self._evaluation = record, request

    def _finish_evaluation(self) -> None:
        """Wait for the evaluation in progress, if there is one, and report its round."""
        if self._evaluation is None:
            return
        record, request = self._evaluation
        self._evaluation = None
        evaluated = self._exchange.replies(EVALUATE, record.round, request)
        record = replace(
            record,
            loss=_weighted_mean(evaluated, "loss"),
            accuracy=_weighted_mean(evaluated, "accuracy"),
        )
        self._history.add_round(record)
        self._note_evaluation(record, sum(reply.num_examples for reply in evaluated))
        self._history.add_event(describe_round(record, self._record.last_round))

    def _note_evaluation(self, record: RoundRecord, images: int) -> None:
        """Remember how good a round of this run is, if its model was evaluated."""
        if record.run == self._record.run and record.accuracy is not None:
            self._evaluations.add(Evaluation(record.round, record.accuracy, images))

    def _gather(self) -> None:
        """Give robots beyond `min_nodes` the time to come, where the settings ask for that."""
        if self._settings.gather_sec:
            nodes = self._wait_for_robots()
            self._met.update(self._robots.gather(nodes, self._settings.gather_sec))
            self._exchange.clock = RoundClock()

    def _reason_to_end(self) -> str:
        """Return why the run needs no further round, "" if it does.

        A round's model is evaluated while the next one trains, so that a run ends with the round
        after the one that decides.
        """
        settings, best = self._settings, self._evaluations.highest
        if best is None:
            return ""
        if 0.0 < settings.end_when_accuracy <= best.accuracy:
            return (
                f"round {best.round} has accuracy {best.accuracy:.3f}; end_when_accuracy is "
                f"{settings.end_when_accuracy:g}"
            )
        rounds = self._evaluations.rounds_without_gain
        if 0 < settings.end_when_no_gain_rounds <= rounds:
            return (
                f"{rounds} rounds without a higher accuracy than {best.accuracy:.3f}; "
                f"end_when_no_gain_rounds is {settings.end_when_no_gain_rounds}"
            )
        return ""

    def _end_early(self, model: GlobalModel, reason: str) -> None:
        """Make the newest round the last one of the run."""
        self._history.add_event(
            f"run {self._record.run} ends with round {model.server_round} of "
            f"{self._record.last_round}: {reason}"
        )
        self._record = replace(self._record, last_round=model.server_round)

    def _best_model(self, last: GlobalModel) -> GlobalModel:
        """Return the model to deliver: of the best round, or of the last where none is known."""
        best = self._evaluations.best
        if best is None or best.round == last.server_round:
            return last
        count = last.server_round - self._record.first_round + 1
        at_the_end = self._evaluations[last.server_round]
        end = f"had {at_the_end.accuracy:.3f}" if at_the_end else "was not evaluated"
        self._history.add_event(
            f"of {count} rounds the model of round {best.round} is taken, accuracy "
            f"{best.accuracy:.3f}; round {last.server_round} {end}"
        )
        try:
            return self._load(best.round)
        except ModelError as error:
            self._history.add_event(f"{error}; round {last.server_round} is delivered instead")
            return last

    def _wait_for_robots(self) -> list[int]:
        """Wait for `min_nodes` connected robots; return all connected ones."""
        wanted = self._settings.min_nodes
        nodes = self._robots.online()
        if len(nodes) < wanted:
            self._finish_evaluation()
            nodes = self._robots.wait(wanted)
            self._exchange.clock = RoundClock()
        self._met.update(nodes)
        return nodes

    def _size(self, num_robots: int, fraction: float) -> int:
        """Return how many robots take part in a phase: the fraction, at least `min_nodes`."""
        return max(int(num_robots * fraction), self._settings.min_nodes)

    def _sample(
        self,
        nodes: Sequence[int],
        size: int,
        server_round: int,
        failed: Collection[int] = (),
    ) -> list[int]:
        """Draw robots for a phase.

        Robots that failed in an earlier attempt, or were silent in the last rounds, are drawn only
        where the others are fewer than `min_nodes`.
        """
        generator = random.Random(self._settings.seed + server_round)
        drawn = generator.sample(nodes, len(nodes))
        avoided = {*failed, *self._exchange.silent.resting(server_round)}
        good = [node for node in drawn if node not in avoided]
        if len(good) < min(size, self._settings.min_nodes):
            good += [node for node in drawn if node in avoided]
        return sorted(good[:size])

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
        wall_sec, robot_compute_sec = self._exchange.clock.lap()
        record = RoundRecord(
            round=server_round,
            run=self._record.run,
            robots=len({reply.node_id for reply in trained}),
            num_examples=sum(reply.num_examples for reply in trained),
            train_loss=_weighted_mean(trained, "loss"),
            loss=None,
            accuracy=None,
            wall_sec=wall_sec,
            robot_compute_sec=robot_compute_sec,
        )
        self._history.add_round(record)
        return record


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
