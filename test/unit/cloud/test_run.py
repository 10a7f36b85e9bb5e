"""A run of rounds over a grid of robots that do what the test says."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from flwr.app import ArrayRecord, Error, Message, MetricRecord
from flwr.proto.node_pb2 import NodeInfo
from flwr.serverapp import Grid
from flwr.serverapp.exception import InconsistentMessageReplies
from flwr.serverapp.strategy import FedAvg

from fl_robot_ros.cloud import exchange as exchange_module
from fl_robot_ros.cloud.aggregation import Aggregation
from fl_robot_ros.cloud.best_round import BestRound, Evaluation
from fl_robot_ros.cloud.checkpoint import GlobalModel
from fl_robot_ros.cloud.delivery_waves import DeliveryWaves
from fl_robot_ros.cloud.history import History, RoundRecord, RunRecord, RunStage
from fl_robot_ros.cloud.reply_reader import Read
from fl_robot_ros.cloud.run import Run
from fl_robot_ros.config import ServerSettings
from fl_robot_ros.errors import ModelError, RunFailedError
from fl_robot_ros.federation import protocol
from fl_robot_ros.identity.signed_model import Signature
from fl_robot_ros.images.preprocessing import Preprocessing

SIZE = 4
Robot = Callable[[Message], "Message | None"]


def sound(name: str, step: float = 1.0, num_examples: int = 10, accuracy: float = 0.5) -> Robot:
    """Return a robot that adds a step to all weights."""

    def reply(message: Message) -> Message:
        if protocol.unpack_farewell(message) is not None:
            return protocol.reply(message, {})
        weights = protocol.unpack_weights(message).astype(np.float32) + np.float32(step)
        metrics: protocol.Metrics = {
            "num-examples": num_examples,
            "loss": 0.25,
            "accuracy": accuracy,
            "seconds": 0.0,
        }
        is_training = message.metadata.message_type == "train"
        return protocol.reply(message, metrics, weights if is_training else None, {"robot": name})

    return reply


def broken(message: Message) -> Message:
    return Message(Error(0, "out of memory"), reply_to=message)


def silent(message: Message) -> None:
    return None


@dataclass
class FakeGrid:
    """Robots that reply at once or never, and a log of what was sent and asked for."""

    robots: dict[int, Robot]
    online: Iterator[list[int]] | None = None
    log: list[tuple[str, str, int, tuple[int, ...]]] = field(default_factory=list)
    given_up: list[str] = field(default_factory=list)
    rounds_late: dict[int, int] = field(default_factory=dict)
    wanted: set[str] = field(default_factory=set)
    late: list[str] = field(default_factory=list)
    _replies: dict[str, Message | None] = field(default_factory=dict)
    _phases: dict[str, tuple[str, int, int]] = field(default_factory=dict)

    def get_nodes(self) -> list[NodeInfo]:
        ids = next(self.online) if self.online else list(self.robots)
        return [NodeInfo(node_id=node, public_key=str(node).encode()) for node in ids]

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        ids = []
        for message in messages:
            key = str(len(self._phases))
            metadata = message.metadata
            metadata.__dict__["_message_id"] = key
            self._replies[key] = self.robots[metadata.dst_node_id](message)
            self._phases[key] = (
                metadata.message_type,
                int(metadata.group_id),
                metadata.dst_node_id,
            )
            ids.append(key)
        self._note("sent", ids)
        return ids

    def read(self, request_ids: Iterable[str]) -> list[Read]:
        ids = sorted(request_ids)
        self._note("asked", ids)
        late = [Read(key, None, "came too late") for key in self.late]
        self.late.clear()
        there = [key for key in (*ids, *sorted(self.wanted)) if self._has_come(key)]
        found = [Read(key, reply) for key in there if (reply := self._replies.pop(key, None))]
        self.wanted.difference_update(there)
        return [*late, *found]

    def _has_come(self, key: str) -> bool:
        """Return whether a reply is there: some are late by a number of rounds."""
        phase, number, node = self._phases[key]
        newest = max(
            (sent for what, kind, sent, _ in self.log if (what, kind) == ("sent", "train")),
            default=0,
        )
        return phase != "train" or newest >= number + self.rounds_late.get(node, 0)

    def give_up(self, request_ids: Iterable[str], *, is_wanted: bool = False) -> None:
        ids = [*request_ids]
        if is_wanted:
            self.wanted.update(ids)
        else:
            self.wanted.difference_update(ids)
        self.given_up.extend(ids)

    def _note(self, what: str, ids: list[str]) -> None:
        if ids:
            phase, number, _ = self._phases[ids[0]]
            self.log.append((what, phase, number, tuple(self._phases[key][2] for key in ids)))

    def sent(self, phase: str) -> list[tuple[int, ...]]:
        """Return the robots of every request of a phase."""
        return [nodes for what, kind, _, nodes in self.log if (what, kind) == ("sent", phase)]


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    with History(tmp_path) as opened:
        yield opened


def model(server_round: int = 0) -> GlobalModel:
    weights = np.zeros(SIZE, np.float32)
    return GlobalModel(server_round, weights, "{}", ("a", "b"), Preprocessing(8, 8, 3, 1.0))


def run_rounds(
    grid: FakeGrid,
    history: History,
    begin: int = 0,
    keys: dict[str, Any] | None = None,
    record: RunRecord | None = None,
    **settings: Any,
) -> tuple[GlobalModel, list[GlobalModel], list[float]]:
    """Do a run after round `begin`; return the final model, the saved models and the pauses.

    `keys` replace arguments of the run, and `record` is that of a resumed one.
    The learning rate is one at which training may move weights as far as these robots do.
    """
    defaults = {"min_nodes": 1, "num_rounds": 1, "strategy": "FedAvg", "learning_rate": 1.0}
    values = ServerSettings(classes=("a", "b"), **{**defaults, **settings})
    record = record or history.run(history.begin_run(begin + 1, begin + values.num_rounds, {}))
    assert record is not None
    saved: list[GlobalModel] = []
    pauses: list[float] = []
    arguments: dict[str, Any] = {
        "save": lambda model, kept_rounds: saved.append(model),
        "load": lambda number: checkpoint_of([model(begin), *saved], number),
        **(keys or {}),
    }
    run = Run(
        grid=cast(Grid, grid),
        reader=grid,
        settings=values,
        history=history,
        record=record,
        aggregation=Aggregation(values),
        sleep=pauses.append,
        **arguments,
    )
    return run.run(model(begin)), saved, pauses


def checkpoint_of(saved: list[GlobalModel], number: int) -> GlobalModel:
    for item in saved:
        if item.server_round == number:
            return item
    raise ModelError(f"checkpoint round-{number:05d}.npz cannot be read")


def judged(name: str, accuracies: Sequence[float], images: Sequence[int] | None = None) -> Robot:
    """Return a robot that finds the models of the rounds so accurate, on so many images."""

    def reply(message: Message) -> Message | None:
        number = int(message.metadata.group_id)
        count = images[number - 1] if images else 10
        if message.metadata.message_type != "evaluate":
            count = 10
        return sound(name, 1.0, count, accuracies[number - 1])(message)

    return reply


def events(history: History) -> list[str]:
    return [text for _, text in history.events_after(0)]


def test_rounds_end_in_the_weighted_mean_and_its_delivery(history: History) -> None:
    grid = FakeGrid({1: sound("r1", 1.0, 30, 0.9), 2: sound("r2", 5.0, 10, 0.5)})
    final, saved, _ = run_rounds(grid, history, num_rounds=2, fraction_train=1.0)
    np.testing.assert_allclose(final.weights, np.full(SIZE, 4.0))  # 2 rounds of (30 + 50) / 40
    assert [item.server_round for item in saved] == [1, 2]
    np.testing.assert_allclose(saved[0].weights, np.full(SIZE, 2.0))
    rounds = history.rounds()
    assert [(item.round, item.robots, item.num_examples) for item in rounds] == [
        (1, 2, 40),
        (2, 2, 40),
    ]
    assert [item.accuracy for item in rounds] == pytest.approx([0.8, 0.8])
    assert events(history)[-1] == "run 1: model of round 2 delivered to r1, r2"
    assert "round 2/2  robots 2  samples 40  loss 0.2500  accuracy 0.800" in events(history)[-2]


def test_robots_evaluate_a_model_before_they_train_from_it(history: History) -> None:
    """Both requests are under way together: a round is one trip to the robots."""
    grid = FakeGrid({1: sound("r1")})
    run_rounds(grid, history, num_rounds=2)
    assert [entry[:3] for entry in grid.log] == [
        ("sent", "train", 1),
        ("asked", "train", 1),
        ("sent", "evaluate", 1),
        ("sent", "train", 2),
        ("asked", "evaluate", 1),
        ("asked", "train", 2),
        ("sent", "evaluate", 2),
        ("asked", "evaluate", 2),
        ("sent", "query", 2),
        ("asked", "query", 2),
    ]


@pytest.mark.parametrize(
    ("robots", "fraction", "min_nodes", "drawn"),
    [(10, 0.5, 1, 5), (10, 0.01, 1, 1), (10, 0.01, 4, 4), (3, 1.0, 2, 3), (2, 0.5, 2, 2)],
)
def test_a_fraction_of_the_robots_takes_part_and_never_too_few(
    history: History, robots: int, fraction: float, min_nodes: int, drawn: int
) -> None:
    grid = FakeGrid({number: sound(f"r{number}") for number in range(1, robots + 1)})
    run_rounds(
        grid,
        history,
        num_rounds=3,
        fraction_train=fraction,
        fraction_evaluate=fraction,
        min_nodes=min_nodes,
    )
    for phase in ("train", "evaluate"):
        assert [len(nodes) for nodes in grid.sent(phase)] == 3 * [drawn]
    if drawn < robots:
        assert len(set(grid.sent("train"))) > 1  # another draw in every round


def test_a_run_waits_for_enough_robots_and_says_so(history: History) -> None:
    robots = {1: sound("r1"), 2: sound("r2")}
    grid = FakeGrid(robots, iter([[], [1], [1], *(50 * [[1, 2]])]))
    _, _, pauses = run_rounds(grid, history, min_nodes=2)
    assert len(pauses) == 2
    assert events(history)[0] == "waiting for robots: 1 of 2 connected"
    assert grid.sent("train") == [(1, 2)]


def test_a_run_gathers_as_many_robots_as_the_last_one_had(history: History) -> None:
    robots = {number: sound(f"r{number}") for number in (1, 2, 3)}
    run_rounds(FakeGrid(robots), history)
    online = chain([[1], [1, 2], [1, 2]], repeat([1, 2, 3]))
    grid = FakeGrid(robots, online)
    run_rounds(grid, history, begin=1, gather_sec=3600.0, fraction_train=1.0)
    assert grid.sent("train") == [(1, 2, 3)]
    assert "robots connected: 1; waiting up to 3600 s for the 3 of the last run" in events(history)
    assert "robots connected: 3; the run begins" in events(history)


def test_a_run_that_gathers_begins_with_those_who_came_in_time(history: History) -> None:
    robots = {1: sound("r1"), 2: sound("r2")}
    run_rounds(FakeGrid(robots, repeat([1])), history, gather_sec=0.05)
    assert "robots connected: 1; waiting up to 0.05 s for more" in events(history)
    assert "robots connected: 1; the run begins" in events(history)
    # As many as the last run had are there: it waits for nobody.
    count = len(events(history))
    run_rounds(FakeGrid(robots), history, begin=1, gather_sec=3600.0)
    assert not any("waiting up to" in line for line in events(history)[count:])


def test_robots_are_told_with_the_model_when_the_next_run_begins(history: History) -> None:
    def told(**settings: Any) -> object:
        heard: list[object] = []

        def robot(message: Message) -> Message | None:
            if message.metadata.message_type == "query":
                heard.append(protocol.unpack_come_back(message))
            return sound("r1")(message)

        run_rounds(FakeGrid({1: robot}), history, **settings)
        [seconds] = heard
        return seconds

    assert told() is None
    assert told(come_back_sec=1800.0) == 1800.0
    until = told(schedule=["0 * * * *"])
    assert isinstance(until, float)
    assert 0.0 < until <= 3600.0


def test_a_robot_with_an_error_is_named_and_left_out(history: History) -> None:
    grid = FakeGrid({1: sound("r1", 3.0), 2: broken})
    final, _, _ = run_rounds(grid, history, fraction_train=1.0)
    np.testing.assert_allclose(final.weights, np.full(SIZE, 3.0))
    assert "round 1: node 2: out of memory" in events(history)
    reasons = history._execute("SELECT DISTINCT reason FROM answers WHERE robot = 'node 2'")
    assert reasons == [("out of memory",)]
    assert events(history)[-1].endswith("delivered to r1")
    assert grid.sent("query") == [(1, 2)]  # whoever waits for the end of the run


@pytest.mark.parametrize("reason", ["", " \x1b\n"])
def test_an_error_without_a_reason_is_an_error(history: History, reason: str) -> None:
    def fails(message: Message) -> Message:
        return Message(Error(0, reason), reply_to=message)

    final, _, _ = run_rounds(FakeGrid({1: sound("r1"), 2: fails}), history, fraction_train=1.0)
    np.testing.assert_allclose(final.weights, 1.0)
    assert "round 1: node 2: it failed, and does not say why" in events(history)


def test_a_robot_that_sends_nonsense_is_named_and_left_out(history: History) -> None:
    grid = FakeGrid({1: sound("r1", 3.0), 2: sound("villain", np.nan, 10**6)})
    final, _, _ = run_rounds(grid, history, fraction_train=1.0)
    np.testing.assert_allclose(final.weights, np.full(SIZE, 3.0))
    assert "round 1: villain: refused: 4 of 4 weights are not finite numbers" in events(history)
    assert history.rounds()[0].robots == 1


def test_records_and_metrics_that_nobody_asked_for_do_no_harm(history: History) -> None:
    def talkative(message: Message) -> Message:
        reply = sound("r2", 1.0)(message)
        reply.content["more"] = MetricRecord({"temperature": 21.5})
        reply.content["arrays-2"] = ArrayRecord([np.zeros(3, np.float32)])
        reply.content.metric_records["metrics"]["extra"] = [1, 2]
        return reply

    grid = FakeGrid({1: sound("r1", 3.0), 2: talkative})
    final, _, _ = run_rounds(grid, history, fraction_train=1.0)
    np.testing.assert_allclose(final.weights, np.full(SIZE, 2.0))
    assert history.rounds()[0].robots == 2


def test_another_attempt_draws_robots_that_did_not_fail(history: History) -> None:
    robots = dict.fromkeys(range(1, 7), broken) | {7: sound("r7"), 8: sound("r8")}
    grid = FakeGrid(robots)
    run_rounds(grid, history, fraction_train=0.25)
    drawn = grid.sent("train")
    assert len(drawn) <= 4
    assert len({node for nodes in drawn for node in nodes}) == 2 * len(drawn)


def test_a_silent_robot_holds_a_round_up_until_its_end_and_no_longer(history: History) -> None:
    grid = FakeGrid({1: sound("r1"), 2: silent})
    final, _, _ = run_rounds(grid, history, fraction_train=1.0, round_timeout_sec=1.0)
    np.testing.assert_allclose(final.weights, np.ones(SIZE))
    assert "round 1: node 2: no reply in time" in events(history)


def test_a_silent_robot_costs_a_grace_once_and_rests(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange_module, "_MIN_GRACE_SEC", 0.3)
    monkeypatch.setattr(exchange_module, "_MIN_DELIVERY_GRACE_SEC", 0.3)
    grid = FakeGrid({1: sound("r1"), 2: silent, 3: sound("r3")})
    run_rounds(grid, history, fraction_train=1.0, num_rounds=5, round_timeout_sec=3600.0)
    asked = [2 in nodes for nodes in grid.sent("train")]
    assert asked == [True, False, True, False, False]
    assert grid.given_up
    asked = [2 in nodes for nodes in grid.sent("evaluate")]
    assert asked == [False, False, False, False, False]


def test_a_robot_whose_connection_ended_is_not_waited_for(history: History) -> None:
    def dies(message: Message) -> None:
        history.set_absent({b"2": 0.0, b"3": time.time() + 60.0})  # robot 3 may come back

    grid = FakeGrid({1: sound("r1"), 2: dies, 3: sound("r3")})
    run_rounds(grid, history, fraction_train=1.0, num_rounds=2, round_timeout_sec=3600.0)
    assert "round 1: node 2: its connection was lost" in events(history)
    assert grid.sent("train") == [(1, 2, 3), (1, 3)]


def test_min_nodes_counts_updates_and_keeps_those_of_the_first_attempt(history: History) -> None:
    def nonsense(message: Message) -> Message | None:
        return sound("bad", np.nan)(message)

    robots = {1: sound("r1", 1.0), 2: nonsense, 3: nonsense, 4: sound("r4", 2.0)}
    robots |= {5: sound("r5", 3.0)}
    grid = FakeGrid(robots)
    final, _, _ = run_rounds(grid, history, fraction_train=1.0, min_nodes=3)
    np.testing.assert_allclose(final.weights, np.full(SIZE, 2.0))
    grid = FakeGrid({1: sound("r1", 1.0), 2: nonsense, 3: nonsense})
    with pytest.raises(RunFailedError, match="1 updates counted in 5 attempts"):
        run_rounds(grid, history, fraction_train=1.0, min_nodes=2)
    assert [1 in nodes for nodes in grid.sent("train")] == [True, False, False, False, False]


def test_more_robots_are_asked_than_needed_and_the_first_count(history: History) -> None:
    robots = {1: sound("r1"), 2: silent, 3: sound("r3"), 4: silent}
    settings = {"min_nodes": 2, "fraction_train": 0.5, "over_select": 2, "round_timeout_sec": 1.0}
    run_rounds(FakeGrid(robots), history, reply_grace=0.0, fraction_evaluate=0.01, **settings)
    assert history.rounds()[0].robots == 2
    assert "round 1: node 2: enough others were faster" in events(history)


def test_a_reply_that_comes_too_late_is_named(history: History) -> None:
    grid = FakeGrid({1: sound("r1"), 2: sound("r2")})
    grid.late = ["0"]
    run_rounds(grid, history, num_rounds=2)
    assert "round 1: r1: its reply came too late to count" in events(history)


LATE = {"fraction_train": 0.5, "over_select": 1}  # both robots are asked, and the first counts


@pytest.mark.parametrize(("rounds_late", "images"), [(1, 7), (2, 6)])
def test_an_update_that_comes_late_counts_less_as_a_step_from_the_newest_model(
    history: History, rounds_late: int, images: int
) -> None:
    grid = FakeGrid({1: sound("r1", 1.0), 2: sound("r2", 3.0)}, rounds_late={2: rounds_late})
    _, saved, _ = run_rounds(grid, history, num_rounds=rounds_late + 1, **LATE)
    steps = np.diff([item.weights[0] for item in saved])
    expected = (10 * 1.0 + images * 3.0) / (10 + images)
    np.testing.assert_allclose(steps, [*(rounds_late - 1) * [1.0], expected], rtol=1e-6)
    share = f"{(1 + rounds_late) ** -0.5:.0%}"
    line = f"it counts in round {rounds_late + 1}, for {share} of its images"
    assert f"round 1: r2: its update came late; {line}" in events(history)
    newest = history.rounds()[-1]
    assert (newest.robots, newest.num_examples) == (2, 10 + images)
    [(accepted, reason)] = history._execute(
        "SELECT accepted, reason FROM answers WHERE robot = 'r2' AND phase = 'train' AND round = 1"
    )
    assert accepted
    assert line in reason


def test_an_update_is_too_late_after_two_rounds_and_at_the_end_of_a_run(history: History) -> None:
    grid = FakeGrid({1: sound("r1", 1.0), 2: sound("r2", 3.0)}, rounds_late={2: 3})
    final, _, _ = run_rounds(grid, history, num_rounds=4, **LATE)
    np.testing.assert_allclose(final.weights, 4.0)
    assert not any("came late" in line for line in events(history))
    assert not grid.wanted


def test_a_late_update_that_is_harmful_or_whose_model_is_gone_does_not_count(
    history: History,
) -> None:
    grid = FakeGrid({1: sound("r1", 1.0), 2: sound("r2", 300.0)}, rounds_late={2: 1})
    final, _, _ = run_rounds(grid, history, num_rounds=2, **LATE)
    np.testing.assert_allclose(final.weights, 2.0)
    assert any(line.startswith("round 1: r2: refused: its update is") for line in events(history))
    grid = FakeGrid({1: sound("r1", 1.0), 2: sound("r2", 1.0)}, rounds_late={2: 1})
    run_rounds(grid, history, num_rounds=2, keys={"load": partial(checkpoint_of, [])}, **LATE)
    assert (
        "round 1: r2: its reply came too late to count: checkpoint round-00000.npz cannot be read"
        in events(history)
    )


def test_a_robot_whose_first_reply_is_late_is_back_too(history: History) -> None:
    run_rounds(FakeGrid({1: sound("r1")}), history)
    history.end_run(1, RunStage.FINISHED)

    def says_once(message: Message) -> Message | None:
        is_first = message.metadata.message_type == "train" and message.metadata.group_id == "2"
        return (hindered("r2", "0, needs still") if is_first else sound("r2"))(message)

    grid = FakeGrid({1: sound("r1"), 2: says_once}, rounds_late={2: 1})
    run_rounds(grid, history, begin=1, num_rounds=3, **LATE)
    assert events(history).count("r2 was not in run 1: 0, needs still") == 1
    [(reason,)] = history._execute("SELECT reason FROM answers WHERE reason LIKE '%before%'")
    assert reason.startswith("its update came late; it counts in round 3, for 71% of its images; ")
    assert reason.endswith("; did not learn before: 0, needs still")


def test_a_late_error_is_one_that_came_too_late(history: History) -> None:
    grid = FakeGrid({1: sound("r1"), 2: broken}, rounds_late={2: 1})
    run_rounds(grid, history, num_rounds=2, **LATE)
    assert "round 1: node 2: its reply came too late to count" in events(history)


def test_strategies_that_compare_updates_take_none_that_is_late(history: History) -> None:
    robots = {number: sound(f"r{number}") for number in (1, 2, 3)} | {4: sound("r4", 3.0)}
    grid = FakeGrid(robots, rounds_late={4: 1})
    settings = {"fraction_train": 0.75, "over_select": 1, "min_nodes": 3, "strategy": "FedMedian"}
    final, _, _ = run_rounds(grid, history, num_rounds=2, **settings)
    np.testing.assert_allclose(final.weights, 2.0)
    assert grid.given_up
    assert not grid.wanted


def test_a_round_without_an_update_is_tried_again(history: History) -> None:
    attempts: list[Message] = []

    def recovers(message: Message) -> Message | None:
        attempts.append(message)
        return broken(message) if len(attempts) < 3 else sound("r1")(message)

    final, _, pauses = run_rounds(FakeGrid({1: recovers}), history)
    np.testing.assert_allclose(final.weights, np.ones(SIZE))
    assert pauses == [1.0, 2.0]


def test_a_run_without_an_update_fails_in_the_end(history: History) -> None:
    grid = FakeGrid({1: broken})
    with pytest.raises(
        RunFailedError, match="round 1: 0 updates counted in 5 attempts; min_nodes asks for 1"
    ):
        run_rounds(grid, history)
    assert len(grid.sent("train")) == 5
    assert history.rounds() == []


def test_an_update_unlike_the_others_is_named_and_left_out(history: History) -> None:
    robots: dict[int, Robot] = {number: sound(f"r{number}") for number in (1, 2, 3)}
    robots[4] = sound("villain", -10.0)
    final, _, _ = run_rounds(FakeGrid(robots), history, num_rounds=2, fraction_train=1.0)
    np.testing.assert_allclose(final.weights, np.full(SIZE, 2.0))
    named = [line for line in events(history) if "villain" in line]
    assert named[:2] == [
        f"round {number}: villain: refused: its update is 20 long; training on 10 images moves "
        "this model by 12 at most"
        for number in (1, 2)
    ]
    assert [record.robots for record in history.rounds()] == [3, 3]


def test_a_run_has_momentum_and_keeps_it_in_its_checkpoints(history: History) -> None:
    grid = FakeGrid({1: sound("r1"), 2: sound("r2")})
    final, saved, _ = run_rounds(grid, history, num_rounds=2, strategy="FedAvgM")
    np.testing.assert_allclose(final.weights, np.full(SIZE, 1.0 + 1.5))
    assert [item.momentum is not None for item in saved] == [True, True]


def test_robots_are_told_which_classes_nobody_has(history: History) -> None:
    told: list[tuple[str, list[int]]] = []

    def sees_only_a(message: Message) -> Message:
        config = message.content.config_records["config"]
        told.append((message.metadata.message_type, cast("list[int]", config["absent-classes"])))
        reply = sound("r1")(message)
        reply.content.metric_records["metrics"]["class-counts"] = [10, 0]
        return reply

    run_rounds(FakeGrid({1: sees_only_a}), history, num_rounds=2)
    assert told[0] == ("train", [])  # nothing is known yet
    assert [classes for _, classes in told[1:]] == (len(told) - 1) * [[1]]


def test_a_round_whose_aggregation_fails_is_tried_again(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With real replies: Flower raises one of its own errors once."""
    whole = FedAvg.aggregate_train

    def fails_once(self: FedAvg, *arguments: Any) -> Any:
        monkeypatch.setattr(FedAvg, "aggregate_train", whole)
        raise InconsistentMessageReplies("as Flower says it")

    monkeypatch.setattr(FedAvg, "aggregate_train", fails_once)
    final, _, pauses = run_rounds(FakeGrid({1: sound("r1")}), history)
    np.testing.assert_allclose(final.weights, np.ones(SIZE))
    assert "round 1: FedAvg failed: as Flower says it" in events(history)
    assert pauses == [1.0]


def test_the_best_round_is_delivered_and_kept_and_signed(history: History) -> None:
    signed: list[int] = []
    grid = FakeGrid({1: judged("r1", [0.2, 0.5, 0.3, 0.5, 0.4], 5 * [1000])})
    keys = {"sign": lambda run, model: signed.append(model.server_round)}
    final, saved, _ = run_rounds(grid, history, num_rounds=5, keys=keys)
    assert (final.server_round, signed) == (4, [4])  # of two with the same accuracy the later
    np.testing.assert_allclose(final.weights, saved[3].weights)
    assert [item.server_round for item in saved] == [1, 2, 3, 4, 5]
    assert grid.log[-1][:3] == ("asked", "query", 4)
    assert events(history)[-2:] == [
        "of 5 rounds the model of round 4 is taken, accuracy 0.500; round 5 had 0.400",
        "run 1: model of round 4 delivered to r1",
    ]


def test_a_resumed_run_knows_how_good_its_earlier_rounds_were(history: History) -> None:
    grid = FakeGrid({1: judged("r1", [0.2, 0.9, 0.3, 0.4])})
    run_rounds(grid, history, num_rounds=2)
    first = history.last_run()
    assert first is not None
    kept: list[set[int]] = []
    keys = {"save": lambda model, kept_rounds: kept.append(kept_rounds), "load": model}
    resumed = replace(first, last_round=4)
    final, _, _ = run_rounds(grid, history, begin=2, keys=keys, record=resumed)
    assert (final.server_round, kept) == (2, [{2}, {2}])
    # The next run does not deliver a model of this one.
    final, _, _ = run_rounds(FakeGrid({1: judged("r1", 5 * [0.1])}), history, begin=4)
    assert final.server_round == 5


@pytest.mark.parametrize(
    ("settings", "last", "best", "reason"),
    [
        (
            {"end_when_accuracy": 0.5},
            3,
            2,
            "round 2 has accuracy 0.500; end_when_accuracy is 0.5",
        ),
        (
            {"end_when_no_gain_rounds": 2},
            5,
            4,
            "2 rounds without a higher accuracy than 0.500; end_when_no_gain_rounds is 2",
        ),
    ],
)
def test_a_run_ends_early_when_it_is_good_enough_or_no_better(
    history: History, settings: dict[str, Any], last: int, best: int, reason: str
) -> None:
    """The round in which the deciding one is evaluated is the last."""
    accuracies = [0.2, 0.5, 0.4, 0.5, 0.1, 0.1, 0.1]
    grid = FakeGrid({1: judged("r1", accuracies, 7 * [1000])})
    final, saved, _ = run_rounds(grid, history, num_rounds=7, **settings)
    assert [item.server_round for item in saved] == [*range(1, last + 1)]
    assert final.server_round == best
    assert f"run 1 ends with round {last} of 7: {reason}" in events(history)
    assert f"of {last} rounds the model of round {best} is taken" in events(history)[-2]
    # A server that is stopped before the delivery decides the same again.
    record = history.run(1)
    assert record is not None
    _, saved, _ = run_rounds(grid, history, begin=last, record=record, **settings)
    assert not saved


def test_a_run_that_gets_better_does_all_of_its_rounds(history: History) -> None:
    grid = FakeGrid({1: judged("r1", [0.1, 0.2, 0.3, 0.4])})
    settings = {"end_when_accuracy": 0.5, "end_when_no_gain_rounds": 1}
    final, _, _ = run_rounds(grid, history, num_rounds=4, **settings)
    assert final.server_round == 4


def test_few_images_win_no_round_by_luck(history: History) -> None:
    grid = FakeGrid({1: judged("r1", [0.6, 1.0, 0.5], [100, 49, 100])})
    final, _, _ = run_rounds(grid, history, num_rounds=3)
    assert final.server_round == 1
    grid = FakeGrid({1: judged("r1", [0.6, 1.0, 0.5], [100, 50, 100])})
    final, _, _ = run_rounds(grid, history, num_rounds=3)
    assert final.server_round == 2


def test_without_the_best_checkpoint_the_last_model_goes_out(history: History) -> None:
    grid = FakeGrid({1: judged("r1", [0.9, 0.1])})
    keys = {"load": lambda number: checkpoint_of([], number)}
    final, _, _ = run_rounds(grid, history, num_rounds=2, keys=keys)
    assert final.server_round == 2
    assert events(history)[-2:] == [
        "checkpoint round-00001.npz cannot be read; round 2 is delivered instead",
        "run 1: model of round 2 delivered to r1",
    ]


def test_a_robot_that_keeps_its_model_is_told_with_its_reason(history: History) -> None:
    def keeps(name: str, kept: str) -> Robot:
        def reply(message: Message) -> Message | None:
            answer = sound(name)(message)
            if answer is not None and message.metadata.message_type == "query":
                texts = answer.content.config_records["config"]
                texts["kept-version"], texts["verdict"] = kept, "accuracy 0.240, 0.385 before\n"
            return answer

        return reply

    robots = {1: sound("r1"), 2: keeps("r2", "v00002"), 3: keeps("r3", "")}
    run_rounds(FakeGrid(robots), history)
    assert events(history)[-3:] == [
        "run 1: model of round 1 delivered to r1",
        "r2 keeps v00002: accuracy 0.240, 0.385 before",
        "r3 uses no model: accuracy 0.240, 0.385 before",
    ]
    reasons = dict(
        history._execute("SELECT robot, reason FROM answers WHERE phase = 'query' AND accepted")
    )
    assert reasons == {
        "r1": "",
        "r2": "keeps v00002: accuracy 0.240, 0.385 before",
        "r3": "uses no model: accuracy 0.240, 0.385 before",
    }
    many = {number: keeps(f"r{number}", "v00002") for number in range(1, 12)}
    run_rounds(FakeGrid(many), history)
    assert events(history)[-1] == "3 more robots do not use it; the history says why"


def hindered(name: str, hindrance: str) -> Robot:
    """Return a sound robot that says what kept it from learning."""

    def reply(message: Message) -> Message | None:
        answer = sound(name)(message)
        if answer is not None and "config" in answer.content:
            answer.content.config_records["config"]["hindrance"] = hindrance
        return answer

    return reply


def test_a_robot_that_was_not_in_the_run_before_says_why_once(history: History) -> None:
    lines = ("battery 0.31, needs >= 0.4 (Wed 22:03 to Thu 04:10)", "0, needs\x1b[2J still")
    robots = {1: hindered("r1", "early"), 2: hindered("r2", lines[0]), 3: hindered("r3", lines[1])}
    run_rounds(FakeGrid({1: robots[1]}), history)
    history.end_run(1, RunStage.FINISHED)
    # Nothing was there before that it could have missed.
    assert not any("early" in line for line in events(history))
    told: list[tuple[float, ...]] = []

    def asked(message: Message) -> Message | None:
        told.append(protocol.unpack_request(message).config.run_before)
        return robots[3](message)

    grid = FakeGrid({**robots, 3: asked})
    record = history.run(history.begin_run(2, 3, {}))
    run_rounds(grid, history, begin=1, num_rounds=2, fraction_train=1.0, record=record)
    assert {*told} == {history.times_of_last_run()}
    expected = [f"r2 was not in run 1: {lines[0]}", "r3 was not in run 1: 0, needs [2J still"]
    assert [line for line in events(history) if "not in run" in line] == expected
    reasons = history._execute(
        "SELECT DISTINCT robot, reason FROM answers WHERE run = 2 AND phase = 'train'"
    )
    said = {"r1": "early", "r2": lines[0], "r3": "0, needs [2J still"}
    assert dict(reasons) == {name: f"did not learn before: {text}" for name, text in said.items()}
    # A run that goes on after a restart of the server has told it.
    run_rounds(FakeGrid(robots), history, begin=2, record=record)
    assert len([line for line in events(history) if "not in run" in line]) == 2


def test_many_robots_that_come_back_are_a_few_lines(history: History) -> None:
    run_rounds(FakeGrid({0: sound("r0")}), history)
    history.end_run(1, RunStage.FINISHED)
    robots = {number: hindered(f"r{number:02d}", "0, needs still") for number in range(1, 31)}
    grid = FakeGrid({0: sound("r0"), **robots})
    run_rounds(grid, history, begin=1, fraction_train=0.4, fraction_evaluate=1.0)
    lines = [line for line in events(history) if "not in run" in line]
    assert len(lines) == 10
    assert [line.partition(":")[0].split(" ")[1] for line in lines[:8]] == ["was"] * 8
    assert lines[8].startswith("not in run 1 either: r")
    assert lines[9].endswith(" more; the history says why")


def test_a_run_goes_on_with_the_evaluation_that_a_stop_cut_off(history: History) -> None:
    grid = FakeGrid({1: sound("r1", accuracy=0.75)})
    history.add_round(RoundRecord(3, 1, 1, 10, 0.5, None, None, 1.0, 0.5))
    run_rounds(grid, history, begin=3)
    assert [entry[:3] for entry in grid.log][:2] == [("sent", "evaluate", 3), ("sent", "train", 4)]
    assert [item.accuracy for item in history.rounds()] == [0.75, 0.75]


def test_with_keys_a_robot_has_its_enrolled_name_and_the_last_model_is_signed(
    history: History,
) -> None:
    signatures: list[Signature | None] = []

    def claims_another_name(message: Message) -> Message | None:
        signatures.append(protocol.unpack_signature(message))
        return sound("r1")(message)

    signature = Signature("{}", "AAAA", "key")
    keys = {
        "enrolled_name": lambda key: f"enrolled {key.decode()}",
        "sign": lambda run, model: signature if (run, model.server_round) == (1, 1) else None,
    }
    run_rounds(FakeGrid({7: claims_another_name, 8: broken}), history, keys=keys)
    assert signatures == [None, None, signature]  # training, evaluation, delivery
    assert "round 1: enrolled 8: out of memory" in events(history)
    assert events(history)[-1].endswith("delivered to enrolled 7")


def refuses(name: str, reason: str = "accuracy 0.240, 0.385 before") -> Robot:
    """Return a robot whose check refuses every model."""

    def reply(message: Message) -> Message | None:
        answer = sound(name)(message)
        if answer is not None and message.metadata.message_type == "query":
            texts = answer.content.config_records.get("config")
            if texts is not None:
                texts["verdict"], texts["refused-version"] = reason, "v00001"
        return answer

    return reply


def told(grid: FakeGrid, name: str) -> tuple[Robot, list[str]]:
    """Return a robot that keeps what it is told at the end of runs, "" for a model."""
    heard: list[str] = []

    def robot(message: Message) -> Message | None:
        if message.metadata.message_type == "query":
            heard.append(protocol.unpack_farewell(message) or "")
        return sound(name)(message)

    grid.robots[len(grid.robots) + 1] = robot
    return robot, heard


def test_the_newest_round_within_a_standard_error_of_the_highest_is_taken() -> None:
    rounds = BestRound()
    assert rounds.best is None
    for number, accuracy in enumerate((0.5, 0.96, 0.94, 0.945, 0.6), 1):
        rounds.add(Evaluation(number, accuracy, 60))  # a standard error is 0.025
    assert rounds.best is not None
    assert rounds.highest is not None
    assert (rounds.highest.round, rounds.best.round) == (2, 4)


@pytest.mark.parametrize(
    ("robots", "asked"),
    [
        ("t", [1]),
        ("tt", [2]),
        ("ttt", [1, 2]),
        ("tttttttttt", [1, 1, 8]),
        ("rttttttttt", [1, 1, 8]),
        ("rtrttttttt", [1, 1, 8]),
        ("rr", [2]),
        ("rrt", [1, 1]),
        ("rrtttttttt", [1, 1]),
        ("trtttttttt", [1, 1, 8]),
        ("tt" + 18 * "r", [1, 3, 16]),
        (50 * "t", [1, 9, 40]),
        ("t" + 9 * "r" + 40 * "t", [1, 9]),
    ],
)
def test_one_robot_then_a_fifth_then_all_get_a_model(robots: str, asked: list[int]) -> None:
    """`t` takes the model, `r` refuses it."""
    waves = DeliveryWaves(range(len(robots)), {})
    sizes = []
    while wave := waves.next():
        answers = [robots[robot] for robot in wave]
        waves.note(answers.count("t"), answers.count("r"))
        sizes.append(len(wave))
    assert sizes == asked
    assert waves.is_halted == (sum(sizes) < len(robots))
    assert len(waves.waiting) == len(robots) - sum(sizes)


def test_those_who_judge_best_are_asked_first_and_silent_ones_last() -> None:
    waves = DeliveryWaves([1, 2, 3, 4], {1: 500, 2: 20, 3: 40}, silent={1})
    assert waves.waiting == [3, 2, 4, 1]


def test_a_release_that_robots_refuse_is_halted(history: History) -> None:
    grid = FakeGrid({1: refuses("r1"), 2: refuses("r2")})
    _, heard = told(grid, "r3")
    run_rounds(grid, history, fraction_train=1.0)
    assert grid.sent("query") == [(1,), (2,), (3,)]
    assert heard == ["the release is halted: 2 of the first 2 robots did not take it"]
    assert events(history)[-1] == (
        "the release of run 1 is halted: 2 of the first 2 robots did not take it; "
        "robots left out: 1"
    )
    [model_of_run] = history.releases.models()
    assert model_of_run.halted
    assert history.releases.newest_out() is None


def test_a_robot_that_fails_over_a_model_has_refused_it(history: History) -> None:
    def fails(message: Message) -> Message | None:
        is_model = message.metadata.message_type == "query"
        return broken(message) if is_model else sound("r1")(message)

    grid = FakeGrid({1: fails, 2: fails, 3: sound("r3")})
    run_rounds(grid, history, fraction_train=1.0)
    assert "halted: 2 of the first 2" in events(history)[-1]


def test_with_approval_robots_get_what_a_person_released(history: History) -> None:
    grid = FakeGrid({})
    _, first = told(grid, "r1")
    _, second = told(grid, "r2")
    settings = {"release": "approve", "fraction_train": 1.0, "num_rounds": 2}
    kept: list[set[int]] = []
    models = {number: model(number) for number in range(7)}
    keys = {
        "save": lambda model, rounds: kept.append(rounds),
        "load": lambda number: replace(models[number], weights=np.full(SIZE, number, np.float32)),
    }
    run_rounds(grid, history, keys=keys, **settings)
    assert first == second == ["no model is released"]
    assert "run 1: the model of round 2 waits for its release: fl_server release 1" in (
        events(history)
    )
    history.releases.release(1)
    run_rounds(grid, history, begin=2, keys=keys, **settings)
    assert first == second == ["no model is released", ""]
    assert events(history)[-1] == "run 2: model of round 2 delivered to r1, r2"
    assert kept[-1] == {2, 3}  # the released model and the best of the run so far
    # Robots that have it are not given it again; another one is.
    _, third = told(grid, "r3")
    run_rounds(grid, history, begin=4, keys=keys, **settings)
    assert first[2:] == second[2:] == ["no newer model is released"]
    assert third == [""]
    # The same one again, after another: it was withdrawn in between.
    history.releases.release(3)
    history.releases.release(1)
    run_rounds(grid, history, begin=6, keys=keys, **{**settings, "num_rounds": 0})
    assert first[3:] == second[3:] == third[1:] == [""]
    history.releases.withdraw(1)
    run_rounds(grid, history, begin=6, keys=keys, **{**settings, "num_rounds": 0})
    assert grid.sent("query")[-2:] == [(1,), (2, 3)]
    assert events(history)[-1] == "run 5: model of round 6 delivered to r1, r2, r3"


def test_a_run_without_rounds_waits_for_robots_and_has_no_model(history: History) -> None:
    grid = FakeGrid({})
    _, heard = told(grid, "r1")
    grid.online = chain([[], []], repeat([1]))
    final, saved, pauses = run_rounds(grid, history, num_rounds=0, release="approve")
    assert (final.server_round, saved, len(pauses)) == (0, [], 1)
    assert heard == ["no model is released"]
    assert history.releases.models() == []


def test_a_released_model_that_cannot_be_read_goes_to_nobody(history: History) -> None:
    grid = FakeGrid({})
    _, heard = told(grid, "r1")
    run_rounds(grid, history, release="approve")
    history.releases.release(1)
    keys = {"load": lambda number: checkpoint_of([], number)}
    run_rounds(grid, history, begin=1, keys=keys, release="approve")
    assert heard == 2 * ["no model is released"]
    assert (
        "the model of run 1 is not delivered: checkpoint round-00001.npz cannot be read"
        in events(history)
    )


def test_a_run_begins_with_the_model_of_the_last_one(history: History) -> None:
    """Not with the last round of it, which may be worse."""
    diverged = FakeGrid({1: judged("r1", [0.9, 0.3], 2 * [1000])})
    run_rounds(diverged, history, num_rounds=2)
    good = replace(model(1), weights=np.full(SIZE, 5.0, np.float32))
    keys = {"load": lambda number: good if number == 1 else checkpoint_of([], number)}
    grid = FakeGrid({1: sound("r1", 1.0)})
    final, _, _ = run_rounds(grid, history, begin=2, keys=keys)
    np.testing.assert_allclose(final.weights, np.full(SIZE, 6.0))
    assert final.server_round == 3
    assert "the run begins with the model of round 1, that of run 1" in events(history)
    # That run ended well.
    final, _, _ = run_rounds(grid, history, begin=3)
    np.testing.assert_allclose(final.weights, np.ones(SIZE))
    assert sum("the run begins with" in line for line in events(history)) == 1


def test_a_run_that_was_stopped_in_its_delivery_goes_to_those_who_come_back(
    history: History,
) -> None:
    grid = FakeGrid({1: sound("r1"), 2: sound("r2"), 3: sound("r3")})
    run_rounds(grid, history, fraction_train=1.0)
    record = history.run(1)
    _, heard = told(grid, "r4")
    online = chain([[], [1]], repeat([1, 2, 4]))
    grid = FakeGrid(grid.robots, online)
    run_rounds(grid, history, begin=1, record=record)
    assert heard == [""]
    assert grid.sent("query") == [(1, 2), (4,)]  # r1 and r2 had it before


def test_a_robot_that_is_not_known_to_be_back_yet_gets_its_model(history: History) -> None:
    """It evaluated for 10 s without a connection, and its reply is known before its return is."""

    def busy(message: Message) -> Message | None:
        if message.metadata.message_type == "evaluate":
            history.set_absent({b"1": time.time() - 10.0})
        return sound("r1")(message)

    run_rounds(FakeGrid({1: busy}), history)
    assert events(history)[-1] == "run 1: model of round 1 delivered to r1"
