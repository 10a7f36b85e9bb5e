"""What a run sends to its robots, and what becomes of their replies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from flwr.app import RecordDict
from flwr.serverapp import Grid

from fl_robot_ros.cloud.aggregation import Aggregation
from fl_robot_ros.cloud.checkpoint import GlobalModel
from fl_robot_ros.cloud.connected_robots import ConnectedRobots
from fl_robot_ros.cloud.fleet_classes import FleetClasses
from fl_robot_ros.cloud.history import History
from fl_robot_ros.cloud.late_replies import STRATEGIES, LateReplies
from fl_robot_ros.cloud.returned_robots import ReturnedRobots
from fl_robot_ros.cloud.round_clock import RoundClock
from fl_robot_ros.cloud.sent_request import Patience, Reader, SentRequest
from fl_robot_ros.cloud.silent_robots import SilentRobots
from fl_robot_ros.cloud.update_check import Reply, check_reply
from fl_robot_ros.config import ServerSettings
from fl_robot_ros.federation import protocol
from fl_robot_ros.federation.protocol import RunConfig
from fl_robot_ros.identity.signed_model import Signature

TRAIN, EVALUATE, QUERY = "train", "evaluate", "query"
_DELIVERY_TIMEOUT_SEC = 300.0
# How long robots have to hear that there is no model for them.
_FAREWELL_SEC = 30.0
_MIN_GRACE_SEC = 10.0
# A robot converts the model before it replies to the delivery.
_MIN_DELIVERY_GRACE_SEC = 60.0


class Exchange:
    """The messages of one run.

    Attributes:
        late: Updates that come after their round.
        silent: Robots that did not reply of late.
        clock: The time of the round.
        held_out: The robots' held-out images as far as they are known, by Flower's number.
    """

    def __init__(
        self,
        grid: Grid,
        reader: Reader,
        settings: ServerSettings,
        history: History,
        run: int,
        robots: ConnectedRobots,
        aggregation: Aggregation,
        load: Callable[[int], GlobalModel],
    ) -> None:
        """Send nothing yet.

        Args:
            grid: Flower's Grid.
            reader: Reads the robots' replies.
            settings: The server's settings.
            history: Takes replies and lines for the operator.
            run: Number of the run.
            robots: Knows who is connected, and the robots' names.
            aggregation: Compares the updates of a round with each other.
            load: Returns the global model after a round; raises a ModelError where it cannot be
                read.
        """
        self._grid = grid
        self._reader = reader
        self._settings = settings
        self._history = history
        self._run = run
        self._robots = robots
        self._aggregation = aggregation
        self._classes = FleetClasses(len(settings.classes))
        self._sent: dict[str, tuple[int, int]] = {}
        self._num_weights = 0
        self._returned = ReturnedRobots(run, history)
        self.late = LateReplies(run, history, reader, load)
        self.silent = SilentRobots()
        self.clock = RoundClock()
        self.held_out: dict[int, int] = {}

    def send(
        self,
        phase: str,
        model: GlobalModel,
        nodes: Sequence[int],
        last_round: int,
        signature: Signature | None = None,
        come_back_sec: float = 0.0,
    ) -> SentRequest:
        """Send a model to robots.

        Args:
            phase: The message type: `train`, `evaluate`, or `query` to deliver the model.
            model: The model.
            nodes: Flower's numbers of the robots.
            last_round: Number of the run's last round.
            signature: The signature of a delivered model, None without one.
            come_back_sec: Time until the next run in s; 0: unknown.
        """
        settings = self._settings
        config = RunConfig(
            run=self._run,
            last_round=last_round,
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
        content = protocol.pack_request(config, model.weights, signature, come_back_sec)
        request = self._request(
            phase, content, nodes, model.server_round, self._timeout_sec(phase)
        )
        self._sent |= {key: (node, model.server_round) for key, node in request.sent_to.items()}
        if phase == TRAIN:
            self._num_weights = model.weights.size
        return request

    def dismiss(
        self, nodes: Sequence[int], server_round: int, reason: str, come_back_sec: float
    ) -> None:
        """Tell robots that the run is over and has no model for them, and wait until they know.

        Args:
            nodes: Flower's numbers of the robots.
            server_round: Number of the run's newest round.
            reason: Why, in one line.
            come_back_sec: Time until the next run in s; 0: unknown.
        """
        content = protocol.pack_farewell(reason, come_back_sec)
        request = self._request(QUERY, content, nodes, server_round, _FAREWELL_SEC)
        patience = Patience(_FAREWELL_SEC, len(nodes), len(nodes), 0.0, 0.0)
        request.replies(patience, lambda is_quorum: self._robots.lost(nodes, is_quorum=is_quorum))

    def replies(
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
        self.silent.note(server_round, found.messages, found.silent)
        if self._wants_late(phase):
            self.late.expect(server_round, found.left)
        for one in found.late:
            node, number = self._sent[one.request_id]
            late = self._robots.named(
                check_reply(node, one.message, self._num_weights, settings.max_examples)
            )
            self._returned.take([late])
            self.late.add(one.request_id, number, late)
        num_weights = None if model is None else model.weights.size
        replies = []
        for node in request.node_ids:
            reply = check_reply(node, found.messages.get(node), num_weights, settings.max_examples)
            if reply.message is None:
                outrun = "enough others were faster" if node in found.outrun else "was not reached"
                reply = replace(reply, reason=found.silent.get(node, outrun))
            replies.append(self._robots.named(reply))
        if model is not None:
            replies = self._aggregation.compare(model, [*before, *replies])[len(before) :]
        self._history.add_replies(self._run, server_round, phase, replies)
        self._returned.take(replies)
        for reply in replies:
            if not reply.accepted:
                self._history.add_event(f"round {server_round}: {reply.robot}: {reply.reason}")
        accepted = [reply for reply in replies if reply.accepted]
        self._classes.add(accepted)
        self.clock.add(accepted)
        if phase == EVALUATE:
            self.held_out |= {reply.node_id: reply.num_examples for reply in accepted}
        return accepted

    def _request(
        self,
        phase: str,
        content: RecordDict,
        nodes: Sequence[int],
        server_round: int,
        timeout_sec: float,
    ) -> SentRequest:
        return SentRequest(
            self._grid,
            self._reader,
            content,
            phase,
            nodes,
            server_round=server_round,
            timeout_sec=timeout_sec,
            wants_late=self._wants_late(phase),
        )

    def _timeout_sec(self, phase: str) -> float:
        most = self._settings.round_timeout_sec
        return min(most, _DELIVERY_TIMEOUT_SEC) if phase == QUERY else most

    def _wants_late(self, phase: str) -> bool:
        """Return whether replies of a phase may count in a later round."""
        return phase == TRAIN and self._settings.strategy in STRATEGIES
