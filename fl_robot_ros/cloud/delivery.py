"""The end of a run: its model is kept, and the released one goes to the robots."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from fl_robot_ros.cloud.checkpoint import GlobalModel
from fl_robot_ros.cloud.connected_robots import ConnectedRobots
from fl_robot_ros.cloud.delivery_waves import DeliveryWaves
from fl_robot_ros.cloud.exchange import QUERY, Exchange
from fl_robot_ros.cloud.history import History, RunRecord
from fl_robot_ros.cloud.releases import FinishedModel
from fl_robot_ros.cloud.schedule import come_back_sec
from fl_robot_ros.cloud.update_check import Reply
from fl_robot_ros.config import ServerSettings
from fl_robot_ros.errors import ModelError
from fl_robot_ros.identity.signed_model import Signature
from fl_robot_ros.name_list import name_list

# Lines about robots that keep their model, after a delivery; the history has all of them.
_MOST_KEPT_LINES = 8


class Delivery:
    """The delivery at the end of one run."""

    def __init__(
        self,
        settings: ServerSettings,
        history: History,
        record: RunRecord,
        robots: ConnectedRobots,
        exchange: Exchange,
        load: Callable[[int], GlobalModel],
        sign: Callable[[int, GlobalModel], Signature] | None,
    ) -> None:
        """Send nothing yet.

        Args:
            settings: The server's settings.
            history: Knows the releases; takes replies and lines for the operator.
            record: The run.
            robots: Knows the robots' names.
            exchange: Sends messages to robots and waits for their replies.
            load: Returns the checkpoint of a round; raises a ModelError where it cannot be read.
            sign: Signs a model, given the run's number; None: nobody does.
        """
        self._settings = settings
        self._history = history
        self._record = record
        self._robots = robots
        self._exchange = exchange
        self._load = load
        self._sign = sign
        self._come_back_sec = come_back_sec(settings, time.time())

    def deliver(self, model: GlobalModel, accuracy: float | None, nodes: Sequence[int]) -> None:
        """Keep the model of the run; send the released one to the robots that need it.

        Args:
            model: The model of the run, or the newest one where it had no round.
            accuracy: Its accuracy on the robots' held-out images, 0 to 1; None: unknown.
            nodes: Flower's numbers of the robots.
        """
        if model.server_round >= self._record.first_round:
            self._note(model, accuracy)
        released = self._history.releases.newest_out()
        found = self._model_of(released, model) if released else None
        if released is None or found is None:
            self._dismiss(nodes, model, "no model is released")
            return
        asked = self._history.releases.robots_asked(released)
        done = [node for node in nodes if self._robots.name(node) in asked]
        self._dismiss(done, model, "no newer model is released")
        self._send(found, released, [node for node in nodes if node not in done])

    def _note(self, model: GlobalModel, accuracy: float | None) -> None:
        """Note the model of the run, and release it where the settings say so."""
        releases, run = self._history.releases, self._record.run
        releases.add(run, model.server_round, accuracy)
        noted = releases.model(run)
        if noted is None or noted.released is not None:  # of a run that was interrupted here
            return
        if self._settings.release == "auto":
            releases.release(run)
        else:
            self._history.add_event(
                f"run {run}: the model of round {model.server_round} waits for its release: "
                f"fl_server release {run}"
            )

    def _model_of(self, released: FinishedModel, model: GlobalModel) -> GlobalModel | None:
        """Return the released model, None if it cannot be read.

        Args:
            released: The release.
            model: The model of this run.
        """
        if released.round == model.server_round:
            return model
        try:
            return self._load(released.round)
        except ModelError as error:
            self._history.add_event(f"the model of run {released.run} is not delivered: {error}")
            return None

    def _send(self, model: GlobalModel, released: FinishedModel, nodes: Sequence[int]) -> None:
        """Send a model to robots in waves; robots that a halt leaves out are told of it."""
        record, history, exchange = self._record, self._history, self._exchange
        signature = self._sign(record.run, model) if self._sign else None
        silent = exchange.silent.resting(record.last_round)
        away = {*nodes} - {*self._robots.online()}
        waves = DeliveryWaves(nodes, exchange.held_out, silent | away)
        replies: list[Reply] = []
        while wave := waves.next():
            request = exchange.send(
                QUERY, model, wave, record.last_round, signature, self._come_back_sec
            )
            enough = max(len({*wave} - silent), 1)
            found = exchange.replies(QUERY, model.server_round, request, quorum=1, enough=enough)
            taken = sum(not reply.refuses_model for reply in found)
            waves.note(taken, len(wave) - taken)
            replies += found
        delivered = sorted(reply.robot for reply in replies if not reply.note)
        history.add_event(
            f"run {record.run}: model of round {model.server_round} delivered to "
            f"{name_list(delivered) or 'no robot'}"
        )
        self._tell_who_keeps(replies)
        if waves.is_halted:
            asked = waves.refused + waves.taken
            reason = f"{waves.refused} of the first {asked} robots did not take it"
            history.releases.halt(released.run, reason)
            history.add_event(
                f"the release of run {released.run} is halted: {reason}; "
                f"robots left out: {len(waves.waiting)}"
            )
            self._dismiss(waves.waiting, model, f"the release is halted: {reason}")

    def _tell_who_keeps(self, replies: Sequence[Reply]) -> None:
        """Note lines about robots that do not use the model."""
        kept = sorted(f"{reply.robot} {reply.note}" for reply in replies if reply.note)
        for line in kept[:_MOST_KEPT_LINES]:
            self._history.add_event(line)
        if len(kept) > _MOST_KEPT_LINES:
            more = len(kept) - _MOST_KEPT_LINES
            self._history.add_event(f"{more} more robots do not use it; the history says why")

    def _dismiss(self, nodes: Sequence[int], model: GlobalModel, reason: str) -> None:
        """End the run for robots that get no model."""
        if nodes:
            number = max(model.server_round, 1)
            self._exchange.dismiss(nodes, number, reason, self._come_back_sec)
