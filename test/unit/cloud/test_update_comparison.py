"""Updates that are too long, turned against the others or too heavy; and honest ones that are not.

Lengths of honest updates are those of the reference CNN on handwritten digits: 0.37 for 20 images
and one step, 5.7 for 1400 images in the first round, 2.1 later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from flwr.app import Message, RecordDict
from numpy.typing import NDArray

from fl_robot_ros.cloud.aggregation import Aggregation
from fl_robot_ros.cloud.checkpoint import GlobalModel, UsualLength
from fl_robot_ros.cloud.update_check import Reply
from fl_robot_ros.config import ServerSettings
from fl_robot_ros.federation import protocol
from fl_robot_ros.images.preprocessing import Preprocessing

SIZE = 20000
GENERATOR = np.random.default_rng(0)
# What the robots agree about; each adds a direction of its own, three times as strong.
COMMON = GENERATOR.normal(0.0, 1.0, SIZE)


def direction() -> NDArray[np.float64]:
    drawn = COMMON + 3.0 * GENERATOR.normal(0.0, 1.0, SIZE)
    return np.asarray(drawn / np.linalg.norm(drawn))


def model(**state: Any) -> GlobalModel:
    weights = np.zeros(SIZE, np.float32)
    return GlobalModel(1, weights, "{}", ("a", "b"), Preprocessing(8, 8, 3, 1.0), **state)


def reply(node_id: int, norm: float, images: int = 360, turn: float = 1.0) -> Reply:
    """Return the reply of a robot whose update has this length."""
    weights = (turn * norm * direction()).astype(np.float32)
    request = Message(RecordDict(), dst_node_id=node_id, message_type="train")
    message = protocol.reply(request, {"num-examples": images}, weights)
    return Reply(node_id, f"r{node_id}", message, num_examples=images)


def aggregation(**settings: Any) -> Aggregation:
    values = {"local_epochs": 1, "batch_size": 32, "learning_rate": 0.003, **settings}
    return Aggregation(ServerSettings(classes=("a", "b"), **values))


def refused(
    replies: Sequence[Reply], now: GlobalModel | None = None, **settings: Any
) -> list[str]:
    compared = aggregation(**settings).compare(now or model(), replies)
    return [f"{item.robot}: {item.reason}" for item in compared if not item.accepted]


def robots(*norms: float) -> list[Reply]:
    return [reply(number, norm) for number, norm in enumerate(norms, 1)]


@pytest.mark.parametrize("factor", [1000.0, 10.0, -10.0])
@pytest.mark.parametrize("number", [3, 4, 9])
def test_an_update_longer_than_the_others_is_refused_by_name(number: int, factor: float) -> None:
    sent = [*robots(*(number - 1) * [2.0]), reply(99, 2.0 * abs(factor), turn=np.sign(factor))]
    reasons = refused(sent)
    assert len(reasons) == 1
    assert reasons[0].startswith("r99: refused: its update is")
    assert refused(sent, norm_limit=0.0) == []


@pytest.mark.parametrize("number", [1, 2])
def test_one_or_two_robots_come_no_further_than_training_can(number: int) -> None:
    """No median tells them apart, and there was no round before."""
    sent = [*robots(*(number - 1) * [2.0]), reply(99, 2000.0)]
    assert refused(sent) == [
        "r99: refused: its update is 2e+03 long; training on 360 images moves this model by 10.2 "
        "at most"
    ]


@pytest.mark.parametrize("number", [1, 2])
def test_one_or_two_robots_are_compared_with_the_rounds_before(number: int) -> None:
    sent = robots(*number * [2.0])
    before = aggregation().aggregate(model(), robots(0.2, 0.2))
    assert before.usual_length is not None
    assert before.usual_length.norm == pytest.approx(0.2, rel=1e-4)
    now = model(usual_length=before.usual_length)
    assert refused(sent, now) == []
    moved = aggregation(server_momentum=0.0).aggregate(now, sent)
    assert moved.usual_length is not None
    assert moved.usual_length.norm == pytest.approx(5 * 0.2, rel=1e-3)
    # They see something new for longer than a round: after the next they come as far as they go.
    moved = aggregation(server_momentum=0.0).aggregate(
        model(usual_length=moved.usual_length), sent
    )
    assert moved.usual_length is not None
    assert moved.usual_length.norm == pytest.approx(2.0, rel=1e-3)


def test_of_two_robots_a_lazy_one_does_not_make_the_other_look_bad() -> None:
    assert refused(robots(2.0, 1e-9)) == []
    assert refused(robots(2.0, 0.0, 0.0, 0.0)) == []


@pytest.mark.parametrize("late", [5.7, 2.1])
def test_honest_robots_with_many_or_few_images_count(late: float) -> None:
    """20 images and a step against 2000 and 63 steps, whoever is in the majority."""
    few, many = (0.37, 20), (late * 1.3, 2000)
    for sizes in ([few, few, few, many], [few, many, many, many], [few, few, many], [few, many]):
        sent = [reply(number, *size) for number, size in enumerate(sizes)]
        assert refused(sent) == []
    # Two robots, after rounds of one kind alone.
    for kind, other in ((few, many), (many, few)):
        before = aggregation().aggregate(model(), [reply(1, *kind), reply(2, *kind)])
        now = model(usual_length=before.usual_length)
        assert refused([reply(1, *kind), reply(2, *other)], now) == []


def test_a_long_update_of_many_images_is_shortened() -> None:
    sent = [*(reply(number, 0.37, 20) for number in range(3)), reply(9, 7.0, 2000)]
    robots = aggregation(server_momentum=0.0)
    moved = robots.aggregate(model(), robots.compare(model(), sent)).weights
    # 5 times 0.37 for the long one, and equal weights.
    parts = [item.message for item in sent if item.message is not None]
    expected = sum(protocol.unpack_weights(part).astype(np.float64) for part in parts[:3])
    expected = expected + protocol.unpack_weights(parts[3]) * (5 * 0.37 / 7.0)
    np.testing.assert_allclose(moved, expected / 4, atol=1e-6)


@pytest.mark.parametrize("factor", [1000.0, -30.0])
def test_claimed_images_excuse_no_length(factor: float) -> None:
    sent = [*robots(2.0, 2.0, 2.0), reply(9, 2.0 * abs(factor), 1000000, np.sign(factor))]
    reasons = refused(sent)
    assert len(reasons) == 1
    assert reasons[0].startswith("r9: refused: its update is")


def test_what_was_shortened_weighs_no_more_than_the_others() -> None:
    sent = [*robots(2.0, 2.0, 2.0), reply(9, 40.0, images=1000000)]
    assert refused(sent) == []
    moved = aggregation(server_momentum=0.0).aggregate(model(), sent).weights
    parts = [protocol.unpack_weights(item.message) for item in sent if item.message is not None]
    np.testing.assert_allclose(moved, (sum(parts[:3]) + parts[3] / 4) / 4, atol=1e-6)


def test_another_learning_rate_is_no_reason_to_refuse_everybody() -> None:
    """The length of before is compared as a share of what training can do now."""
    before = aggregation(learning_rate=1e-5).aggregate(model(), robots(0.01, 0.01))
    assert refused(robots(2.0, 2.0), model(usual_length=before.usual_length)) == []


@pytest.mark.parametrize("number", [1, 2, 4])
def test_a_fleet_that_hardly_moves_any_more_goes_on(number: int) -> None:
    now = model(usual_length=UsualLength(0.001, 0.0002))
    sent = [*robots(*(number - 1) * [0.001]), reply(99, 0.023)]
    assert refused(sent, now) == []
    # A long step is another matter, where others tell that it is one.
    long = refused([*robots(*(number - 1) * [0.001]), reply(99, 1.0)], now)
    assert bool(long) == (number == 4)


def test_an_update_against_the_others_is_refused() -> None:
    sent = [*(reply(number, 2.0) for number in range(9)), reply(99, 2.0, turn=-1.0)]
    common = aggregation(min_cosine=-0.2).compare(model(), sent)
    assert [item.robot for item in common if not item.accepted] == ["r99"]
    assert "points against the others, with a cosine of -0." in common[-1].reason
    assert refused(sent, min_cosine=-1.0) == []
    assert refused(sent[-3:], min_cosine=-0.2) == []  # three cannot tell who is right


@pytest.mark.parametrize("number", [4, 10])
def test_robots_whose_updates_cancel_out_are_not_against_each_other(number: int) -> None:
    """A model that is as good as it gets is pulled to all sides at once."""
    pulls = GENERATOR.normal(0.0, 1.0, (number, SIZE))
    pulls -= pulls.mean(axis=0)
    sent = []
    for node_id, pull in enumerate(pulls, 1):
        base = reply(node_id, 2.0)
        weights = (2.0 * pull / np.linalg.norm(pull)).astype(np.float32)
        request = Message(RecordDict(), dst_node_id=node_id, message_type="train")
        message = protocol.reply(request, {"num-examples": 360}, weights)
        sent.append(replace(base, message=message))
    assert refused(sent, min_cosine=-0.5) == []
    assert refused(sent) == []


def test_a_claim_of_many_images_weighs_as_much_as_three_others() -> None:
    sent = [*robots(2.0, 2.0, 2.0), reply(9, 2.0, images=1000000)]
    moved = aggregation(server_momentum=0.0).aggregate(model(), sent).weights
    parts = [protocol.unpack_weights(item.message) for item in sent if item.message is not None]
    np.testing.assert_allclose(moved, (sum(parts[:3]) + 3 * parts[3]) / 6, atol=1e-6)


def test_of_two_robots_the_smaller_claim_is_believed() -> None:
    sent = [reply(1, 2.0), reply(2, 2.0, images=1000000)]
    moved = aggregation(server_momentum=0.0).aggregate(model(), sent).weights
    parts = [protocol.unpack_weights(item.message) for item in sent if item.message is not None]
    np.testing.assert_allclose(moved, (parts[0] + 3 * parts[1]) / 4, atol=1e-6)


def test_a_robot_has_as_many_images_as_it_said_first() -> None:
    robots = aggregation()
    for claim, counted in ((300, 300), (1000, 300), (200, 200), (400, 300)):
        compared = robots.compare(model(), [reply(1, 2.0, images=claim)])
        assert compared[0].accepted
        assert compared[0].num_examples == counted


def test_an_update_beyond_all_numbers_is_refused() -> None:
    sent = robots(2.0, 2.0)
    assert sent[1].message is not None
    huge = np.where(np.arange(SIZE) % 2, 3e38, -3e38).astype(np.float32)
    sent[1].message.content["arrays"] = protocol.to_arrays(huge)
    now = GlobalModel(1, -huge, "{}", ("a", "b"), Preprocessing(8, 8, 3, 1.0))
    reasons = aggregation(norm_limit=0.0).compare(now, [sent[1]])
    assert reasons[0].reason == "refused: its update is longer than a number can tell"


def test_what_training_does_not_move_is_not_measured_by_its_reach() -> None:
    """The first round of a batch normalization moves its statistics far."""
    is_trainable = np.arange(SIZE) > 10
    settings = ServerSettings(classes=("a", "b"), learning_rate=0.003, local_epochs=1)
    sent = robots(2.0, 2.0)
    for item in sent:
        assert item.message is not None
        weights = protocol.unpack_weights(item.message).astype(np.float32)
        weights[:10] = 50.0
        item.message.content["arrays"] = protocol.to_arrays(weights)
    reasons = [item.reason for item in Aggregation(settings).compare(model(), sent)]
    assert all("moves this model by" in reason for reason in reasons)
    compared = Aggregation(settings, is_trainable).compare(model(), sent)
    assert [item.reason for item in compared] == ["", ""]


def test_replies_without_an_update_stay_as_they_are() -> None:
    missing = Reply(7, "r7", None, "no reply in time")
    assert aggregation().compare(model(), [missing, *robots(2.0)])[0] == missing


def test_the_usual_length_is_a_median() -> None:
    after = aggregation().aggregate(model(), robots(1.0, 2.0, 3.0))
    reach = 0.003 * np.ceil(360 / 32) * np.sqrt(SIZE)
    assert isinstance(after.usual_length, UsualLength)
    assert after.usual_length.norm == pytest.approx(2.0, rel=1e-4)
    assert after.usual_length.share_of_reach == pytest.approx(2.0 / reach, rel=1e-4)
