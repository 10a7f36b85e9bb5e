"""The gate's decision, on answers that are given."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fl_robot_ros.config import ClientSettings
from fl_robot_ros.delivery.gate import CurrentModel, Trial, decide
from fl_robot_ros.publication import Publication

CLASSES = ("cup", "person", "phone")


def rules(**settings: object) -> Publication:
    return Publication.from_settings(ClientSettings.from_mapping(settings))


def trial(
    new: list[bool], old: list[bool] | None = None, labels: list[int] | None = None
) -> Trial:
    """Return a trial; the classes of the images take turns unless they are given."""
    numbers = np.array(labels if labels is not None else np.arange(len(new)) % 3, np.int32)
    current = old and CurrentModel("v00002", CLASSES, np.array(old))
    return Trial(CLASSES, numbers, np.array(new), 1e-6, 2.0, current or None)


def paired(images: int, lost: int, gained: int, both: int) -> Trial:
    """Return a trial by the number of images that one model alone names, or both do."""
    rest = images - lost - gained - both
    new = lost * [False] + gained * [True] + both * [True] + rest * [False]
    old = lost * [True] + gained * [False] + both * [True] + rest * [False]
    order = random.Random(0).sample(range(images), images)
    return trial([new[i] for i in order], [old[i] for i in order])


@pytest.mark.parametrize("images", [26, 39, 52, 117, 520, 5200])
def test_the_measured_collapses_are_refused_at_every_usual_size(images: int) -> None:
    """0.385 to 0.240 and 0.222 to 0.083, however the answers overlap."""
    for before, after in ((0.385, 0.240), (0.222, 0.083)):
        old, new = round(before * images), round(after * images)
        for both in (new, new // 2, 0):
            verdict = decide(paired(images, old - both, new - both, both), rules())
            assert not verdict.accepted, (images, before, both)
            assert verdict.accuracy_before == old / images
            assert f"accuracy {new / images:.3f} on its {images} images" in verdict.reason


def test_a_refusal_says_the_numbers_and_the_rule() -> None:
    reasons = {
        decide(paired(120, 25, 8, 21), rules()).reason,
        decide(paired(120, 6, 0, 21), rules()).reason,
        decide(paired(40, 0, 1, 9), rules(publish_if="better_by")).reason,
    }
    assert reasons == {
        "accuracy 0.242 on its 120 images, 0.383 before; publish_margin is 0.05",
        "accuracy 0.175 on its 120 images, 0.225 before; it loses 6 images and "
        "gains 0, which is no chance",
        "accuracy 0.250 on its 40 images, 0.225 before; publish_if better_by asks for 0.05 more",
    }


@pytest.mark.parametrize(
    ("images", "lost", "gained", "accepted"),
    [
        (5, 1, 0, True),  # one image is no evidence
        (5, 2, 0, False),
        (20, 2, 1, True),
        (20, 3, 1, False),  # 0.1 less
        (1000, 60, 40, False),  # 0.02 less, and no chance
        (1000, 60, 50, True),
        (5000, 300, 265, True),  # 0.007 less may be chance
        (5000, 300, 230, False),
    ],
)
def test_the_tolerance_knows_how_many_images_there_are(
    images: int, lost: int, gained: int, accepted: bool
) -> None:
    assert decide(paired(images, lost, gained, 0), rules()).accepted is accepted


def test_a_guarded_class_must_not_lose_a_single_image() -> None:
    labels = [1, 1, 1, 0, 0, 0]
    old, new = [True, True, False, False, False, True], [True, False, False, True, True, True]
    better = trial(new, old, labels)
    assert decide(better, rules()).accepted
    verdict = decide(better, rules(guarded_classes=["person"]))
    assert not verdict.accepted
    assert "of the guarded class 'person' it finds 1 fewer of 3" in verdict.reason
    verdict = decide(better, rules(guarded_classes=["cup", "phone"]))
    assert verdict.accepted
    assert "no held-out image of the guarded phone" in verdict.reason
    without = replace(better, classes=("cup", "people", "phone"))
    verdict = decide(without, rules(guarded_classes=["person"]))
    assert not verdict.accepted
    assert "it does not have the guarded person" in verdict.reason
    assert decide(without, rules(guarded_classes=["person"], publish_if="always")).accepted


def test_a_first_model_must_be_better_than_a_guess() -> None:
    constant = trial([True, False, False] * 4)  # always says "cup"
    assert "mean recall 0.333 is no better than a guess, 0.333" in decide(constant, rules()).reason
    assert not decide(constant, rules()).accepted
    verdict = decide(trial([True, False, False] * 3 + [True, True, False]), rules())
    assert verdict.accepted
    assert verdict.reason == "accuracy 0.417 on its 12 images; the first model"
    assert verdict.accuracy_before is None
    # Of one class alone, guessing is right one time in three.
    assert decide(trial([True, False], labels=[1, 1]), rules()).accepted
    assert not decide(trial([True, False, False], labels=[1, 1, 1]), rules()).accepted
    # A holdout of mostly one class: saying that class is no skill, finding the rare ones is.
    mostly = [0] * 18 + [1, 2]
    assert not decide(trial([True] * 18 + [False] * 2, labels=mostly), rules()).accepted
    assert decide(trial([True] * 15 + [False] * 4 + [True], labels=mostly), rules()).accepted
    verdict = decide(trial([True, True, False]), rules(first_model_min_accuracy=0.7))
    assert verdict.reason.endswith("; first_model_min_accuracy is 0.7")
    assert not verdict.accepted


def test_models_of_other_classes_are_compared_on_the_common_ones() -> None:
    new = trial([True, True, False, False, False, True], labels=[0, 1, 2, 0, 1, 2])
    current = CurrentModel("v00004", ("cup", "hat"), np.array([True] + [False] * 5))
    verdict = decide(replace(new, current=current), rules())
    assert verdict.accepted
    assert verdict.reason == (
        "accuracy 0.500 on its 2 images of the classes that v00004 knows, 0.500 before"
    )
    per_class = replace(new, current=current).per_class()
    assert per_class["cup"] == {"images": 2, "recall": 0.5, "recall_before": 0.5}
    assert per_class["phone"] == {"images": 2, "recall": 0.5}
    strange = CurrentModel("v00004", ("hat", "shoe"), np.zeros(6, bool))
    verdict = decide(replace(new, current=strange), rules())
    assert verdict.accepted
    assert verdict.reason.endswith("not compared with v00004: it has none of these classes")


def test_a_current_model_that_cannot_be_compared_is_as_if_there_were_none() -> None:
    current = CurrentModel.incomparable("v00004", "model.tflite is damaged")
    good, bad = trial([True, True, False]), trial([False, False, False])
    verdict = decide(replace(good, current=current), rules())
    assert verdict.accepted
    assert verdict.reason.endswith("; not compared with v00004: model.tflite is damaged")
    verdict = decide(replace(bad, current=current), rules())
    assert not verdict.accepted
    assert "no better than a guess" in verdict.reason


def test_what_cannot_run_here_is_refused_however_good_it_is() -> None:
    good = trial([True] * 9, [False] * 9)
    for publish_if in ("not_worse", "better_by", "always"):
        publication = rules(publish_if=publish_if, max_latency_ms=50)
        assert decide(good, publication).accepted
        slow = decide(replace(good, latency_ms=163.4), publication)
        assert not slow.accepted
        assert slow.reason.endswith("; one image takes 163 ms; max_latency_ms is 50")
        for parity in (0.3, float("nan")):
            wrong = decide(replace(good, parity=parity), publication)
            assert not wrong.accepted
            assert "model.tflite differs from model.keras by" in wrong.reason


def test_always_takes_a_worse_model_and_says_both_numbers() -> None:
    verdict = decide(paired(100, 30, 0, 10), rules(publish_if="always"))
    assert verdict.accepted
    assert verdict.reason == (
        "accuracy 0.100 on its 100 images, 0.400 before; publish_if is always"
    )


answers = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=200)


@settings(deadline=None)
@given(answers, st.data(), st.sampled_from(["not_worse", "better_by"]), st.floats(0, 1))
def test_a_model_that_is_worse_on_one_more_image_is_never_taken_sooner(
    pairs: list[tuple[bool, bool]], data: st.DataObject, publish_if: str, margin: float
) -> None:
    new, old = [new for new, _ in pairs], [old for _, old in pairs]
    index = data.draw(st.integers(0, len(new) - 1))
    worse = [*new[:index], False, *new[index + 1 :]]
    publication = rules(publish_if=publish_if, publish_margin=margin, guarded_classes=["person"])
    if decide(trial(worse, old), publication).accepted:
        assert decide(trial(new, old), publication).accepted


@settings(deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=200))
def test_a_model_that_answers_as_the_current_one_is_not_worse_and_not_better(
    old: list[bool],
) -> None:
    same = trial(old, old)
    assert decide(same, rules(guarded_classes=list(CLASSES))).accepted
    assert not decide(same, rules(publish_if="better_by", publish_margin=0.0)).accepted
