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
from fl_robot_ros.cloud.fleet_classes import FleetClasses
from fl_robot_ros.cloud.history import History, RoundRecord, RunRecord
from fl_robot_ros.cloud.late_replies import MOST_ROUNDS, STRATEGIES, LateReplies
from fl_robot_ros.cloud.returned_robots import ReturnedRobots
from fl_robot_ros.cloud.round_clock import RoundClock
from fl_robot_ros.cloud.schedule import come_back_sec
from fl_robot_ros.cloud.sent_request import Patience, Reader, SentRequest
from fl_robot_ros.cloud.silent_robots import SilentRobots
from fl_robot_ros.cloud.update_check import Reply, check_reply
from fl_robot_ros.config import ServerSettings
from fl_robot_ros.errors import ModelError, RunFailedError
from fl_robot_ros.federation import protocol
from fl_robot_ros.federation.protocol import RunConfig
from fl_robot_ros.identity.signed_model import Signature
from fl_robot_ros.name_list import name_list

TRAIN, EVALUATE, QUERY = "train", "evaluate", "query"
_DELIVERY_TIMEOUT_SEC = 300.0
_MAX_ATTEMPTS = 5
# Lines about robots that keep their model, after a delivery; the history has all of them.
_MOST_KEPT_LINES = 8
_MIN_GRACE_SEC = 10.0
# A robot converts the model before it replies to the delivery.
_MIN_DELIVERY_GRACE_SEC = 60.0


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
        save: Callable[[GlobalModel, int | None], Any],
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
            save: Stores a checkpoint, and keeps that of the round with the given number.
            load: Returns the checkpoint of a round; raises a ModelError where it cannot be read.
            sleep: Waits for robots and before another attempt, in s.
            sign: Signs the final model of a run, given the run's number; None: nobody does.
            enrolled_name: Returns the name of the robot with a public key; None: robots say their
                names themselves.
        """
        self._grid = grid
        self._reader = reader
        self._settings = settings
        self._history = history
        self._aggregation = aggregation
        self._classes = FleetClasses(len(settings.classes))
        self._record = record
        self._save = save
        self._load = load
        self._sleep = sleep
        self._sign = sign
        self._robots = ConnectedRobots(grid, history, sleep, enrolled_name)
        self._clock = RoundClock()
        self._evaluation: tuple[RoundRecord, SentRequest] | None = None
        self._evaluations = BestRound()
        self._silent = SilentRobots()
        self._met: set[int] = set()
        self._sent: dict[str, tuple[int, int]] = {}
        self._late = LateReplies(record.run, history, reader, load)
        self._returned = ReturnedRobots(record.run, history)
        self._num_weights = 0

    def run(self, model: GlobalModel) -> GlobalModel:
        """Do all rounds of the run that are left, then deliver; return the delivered model.

        Raises:
            RunFailedError: No robot's update counted, several times in a row.
            ModelError: A checkpoint cannot be written.
        """
        self._num_weights = model.weights.size
        images = self._history.evaluated_images(self._record.run)
        for record in self._history.rounds():
            if record.round == model.server_round and record.accuracy is None:
                self._ask_to_evaluate(model, record)  # the server was stopped before
            elif record.round <= model.server_round:
                self._note_evaluation(record, images.get(record.round, 0))
        self._gather()
        for server_round in range(model.server_round + 1, self._record.last_round + 1):
            reason = self._reason_to_end()
            if reason:
                self._end_early(model, reason)
                break
            model = replace(model, server_round=server_round)
            model, accepted = self._train(model)
            best = self._evaluations.best
            self._save(model, best.round if best else None)
            record = self._record_round(server_round, accepted)
            self._ask_to_evaluate(model, record)
        self._finish_evaluation()
        self._late.give_up()
        delivered = self._best_model(model)
        self._deliver(delivered)
        return delivered

    def _train(self, model: GlobalModel) -> tuple[GlobalModel, list[Reply]]:
        """Have robots train; return the next model, and the updates in it, `min_nodes` at least.

        Raises:
            RunFailedError: No model came about in several attempts.
        """
        settings, number = self._settings, model.server_round
        accepted: dict[int, Reply] = {}
        failed: set[int] = set()
        self._late.give_up(number - MOST_ROUNDS)
        for attempt in range(_MAX_ATTEMPTS):
            if attempt:
                self._sleep(2.0 ** (attempt - 1))
            nodes = [node for node in self._wait_for_robots() if node not in accepted]
            wanted = self._size(len(nodes) + len(accepted), settings.fraction_train)
            wanted = max(wanted - len(accepted), 1)
            trainers = self._sample(nodes, wanted + settings.over_select, number, failed)
            request = self._send(TRAIN, model, trainers)
            self._finish_evaluation()  # robots evaluate before they train
            replies = self._replies(
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
                trained += self._late.updates(model, trained, self._aggregation.compare)
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
        self._note_evaluation(record, sum(reply.num_examples for reply in evaluated))
        self._history.add_event(describe_round(record, self._record.last_round))

    def _note_evaluation(self, record: RoundRecord, images: int) -> None:
        """Remember how good a round of this run is, if its model was evaluated."""
        if record.run == self._record.run and record.accuracy is not None:
            self._evaluations.add(Evaluation(record.round, record.accuracy, images))

    def _gather(self) -> None:
        """Give robots beyond `min_nodes` the time to come, where the settings ask for that."""
        if self._settings.gather_sec:
            self._robots.gather(self._wait_for_robots(), self._settings.gather_sec)
            self._clock = RoundClock()

    def _reason_to_end(self) -> str:
        """Return why the run needs no further round, "" if it does.

        A round's model is evaluated while the next one trains, so that a run ends with the round
        after the one that decides.
        """
        settings, best = self._settings, self._evaluations.best
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
            f"round {best.round} is the best of {count} rounds, accuracy {best.accuracy:.3f}; "
            f"round {last.server_round} {end}"
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
            self._clock = RoundClock()
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
        avoided = {*failed, *self._silent.resting(server_round)}
        good = [node for node in drawn if node not in avoided]
        if len(good) < min(size, self._settings.min_nodes):
            good += [node for node in drawn if node in avoided]
        return sorted(good[:size])

    def _send(
        self,
        phase: str,
        model: GlobalModel,
        nodes: Sequence[int],
        signature: Signature | None = None,
        come_back_sec: float = 0.0,
    ) -> SentRequest:
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
            run_before=self._returned.run_before,
        )
        request = SentRequest(
            self._grid,
            self._reader,
            protocol.pack_request(config, model.weights, signature, come_back_sec),
            phase,
            nodes,
            server_round=model.server_round,
            timeout_sec=self._timeout_sec(phase),
            wants_late=self._wants_late(phase),
        )
        self._sent |= {key: (node, model.server_round) for key, node in request.sent_to.items()}
        return request

    def _timeout_sec(self, phase: str) -> float:
        most = self._settings.round_timeout_sec
        return min(most, _DELIVERY_TIMEOUT_SEC) if phase == QUERY else most

    def _replies(
        self,
        phase: str,
        server_round: int,
        request: SentRequest,
        model: GlobalModel | None = None,
        *,
        before: Sequence[Reply] = (),
        quorum: int | None = None,
        enough: int | None = None,
    ) -> list[Reply]:
        """Wait for replies, check and note them; return those that count.

        Args:
            phase: The request's message type.
            server_round: The request's round.
            request: The request.
            model: The global model that was trained; None if a reply has no weights.
            before: Updates of the round that counted in earlier attempts.
            quorum: From so many replies on, further ones have a grace; None: `min_nodes`.
            enough: So many replies end the wait; None: all.
        """
        settings = self._settings
        patience = Patience(
            timeout_sec=self._timeout_sec(phase),
            enough=len(request.node_ids) if enough is None else enough,
            quorum=settings.min_nodes if quorum is None else quorum,
            grace=settings.reply_grace,
            min_grace_sec=_MIN_DELIVERY_GRACE_SEC if phase == QUERY else _MIN_GRACE_SEC,
        )

        found = request.replies(
            patience,
            lambda is_quorum: self._robots.lost(request.node_ids, is_quorum=is_quorum),
        )
        self._silent.note(server_round, found.messages, found.silent)
        if self._wants_late(phase):
            self._late.expect(server_round, found.left)
        for one in found.late:
            node, number = self._sent[one.request_id]
            late = self._robots.named(
                check_reply(node, one.message, self._num_weights, settings.max_examples)
            )
            self._returned.take([late])
            self._late.add(one.request_id, number, late)
        num_weights = None if model is None else model.weights.size
        replies = []
        for node in request.node_ids:
            reply = check_reply(node, found.messages.get(node), num_weights, settings.max_examples)
            if reply.message is None:
                outrun = "enough others were faster" if node in found.outrun else "was not reached"
                reply = replace(reply, reason=found.silent.get(node, outrun))
            replies.append(self._robots.named(reply))
        if model is not None:
            compared = self._aggregation.compare(model, [*before, *replies])
            replies = compared[len(before) :]
        self._history.add_replies(self._record.run, server_round, phase, replies)
        self._returned.take(replies)
        for reply in replies:
            if not reply.accepted:
                self._history.add_event(f"round {server_round}: {reply.robot}: {reply.reason}")
        accepted = [reply for reply in replies if reply.accepted]
        self._classes.add(accepted)
        self._clock.add(accepted)
        return accepted

    def _wants_late(self, phase: str) -> bool:
        """Return whether replies of a phase may count in a later round."""
        return phase == TRAIN and self._settings.strategy in STRATEGIES

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

    def _deliver(self, model: GlobalModel) -> None:
        """Send a model to the connected robots, but for those that came after the run's end."""
        record = self._record
        nodes = [node for node in self._robots.online() if node in self._met or not self._met]
        signature = self._sign(record.run, model) if self._sign else None
        stay_away_sec = come_back_sec(self._settings, time.time())
        request = self._send(QUERY, model, nodes, signature, stay_away_sec)
        silent = self._silent.resting(record.last_round) & {*nodes}
        enough = max(len(nodes) - len(silent), 1)
        replies = self._replies(QUERY, model.server_round, request, enough=enough)
        delivered = sorted(reply.robot for reply in replies if not reply.note)
        kept = sorted(f"{reply.robot} {reply.note}" for reply in replies if reply.note)
        self._history.add_event(
            f"run {record.run}: model of round {model.server_round} delivered to "
            f"{name_list(delivered) or 'no robot'}"
        )
        for line in kept[:_MOST_KEPT_LINES]:
            self._history.add_event(line)
        if len(kept) > _MOST_KEPT_LINES:
            more = len(kept) - _MOST_KEPT_LINES
            self._history.add_event(f"{more} more robots do not use it; the history says why")


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
