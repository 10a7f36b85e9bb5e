"""The gate: whether a delivered model becomes the robot's current one.

Both models are asked about the same held-out images of this robot, and the answers are compared
image by image. The reasons for the rules are in docs/models.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.delivery.sign_test import one_sided
from fl_robot_ros.name_list import name_list
from fl_robot_ros.publication import Publication

# Float32 arithmetic in another order differs in the last digits; a wrong export differs by far.
PARITY_TOLERANCE = 1e-3
# Chance of refusing a model that is as good as the current one, for the answers alone.
SIGNIFICANCE = 0.05
# With fewer images lost than this, not even the margin counts: one image is no evidence.
_MIN_LOST_IMAGES = 2


@dataclass(frozen=True)
class CurrentModel:
    """The current model, and what it says of the held-out images.

    Attributes:
        version: Name of its version.
        classes: Its class names.
        is_right: bool (N,), whether it names the class of an image.
        problem: Why it cannot be compared, `is_right` is empty then; "" if it can.
    """

    version: str
    classes: tuple[str, ...]
    is_right: NDArray[np.bool_]
    problem: str = ""

    @classmethod
    def incomparable(
        cls, version: str, problem: str, classes: tuple[str, ...] = ()
    ) -> CurrentModel:
        """Return a current model that cannot be compared, for a reason."""
        return cls(version, classes, np.zeros(0, dtype=np.bool_), problem)


@dataclass(frozen=True)
class Trial:
    """What was measured of a delivered model on this robot.

    Attributes:
        classes: Its class names.
        labels: int32 (N,), numbers of the classes of the held-out images; one or more images.
        is_right: bool (N,), whether the model names the class of an image.
        parity: Largest difference of an output of model.tflite from one of model.keras.
        latency_ms: Median time for one image with one thread, in ms.
        current: The current model on the same images; None without one.
    """

    classes: tuple[str, ...]
    labels: NDArray[np.int32]
    is_right: NDArray[np.bool_]
    parity: float
    latency_ms: float
    current: CurrentModel | None = None

    @property
    def both_know(self) -> NDArray[np.bool_]:
        """Return of each image whether both models have its class, bool (N,)."""
        known = () if self.current is None or self.current.problem else self.current.classes
        return np.array([name in known for name in self.classes])[self.labels]

    def per_class(self) -> dict[str, dict[str, float]]:
        """Return of each class with held-out images their number, and the models' recall.

        Returns:
            `images`, `recall` and, where the current model knows the class, `recall_before`.
        """
        found: dict[str, dict[str, float]] = {}
        for number in np.unique(self.labels):
            chosen = self.labels == number
            values = {
                "images": int(chosen.sum()),
                "recall": float(self.is_right[chosen].mean()),
            }
            if self.current and self.both_know[chosen].all():
                values["recall_before"] = float(self.current.is_right[chosen].mean())
            found[self.classes[number]] = values
        return found


@dataclass(frozen=True)
class Verdict:
    """The gate's decision.

    Attributes:
        accepted: Whether the model becomes the current one.
        reason: Why, in one line for people.
        accuracy_before: Of the current model, 0 to 1; None where it was not compared on all of
            the held-out images.
    """

    accepted: bool
    reason: str
    accuracy_before: float | None = None


def decide(trial: Trial, publication: Publication) -> Verdict:
    """Decide whether a delivered model becomes the current one.

    Args:
        trial: What was measured.
        publication: What the robot's settings ask for.
    """
    compared = np.ones(len(trial.labels), dtype=np.bool_)
    current, note = trial.current, ""
    if current is None:
        note = "the first model"
    elif current.problem:
        note = f"not compared with {current.version}: {current.problem}"
        current = None
    elif not trial.both_know.any():
        note = f"not compared with {current.version}: it has none of these classes"
        current = None
    else:
        compared = trial.both_know
    right = trial.is_right[compared]
    text = f"accuracy {right.mean():.3f} on its {_images(len(right))}"
    before = None
    if current is not None:
        was = float(current.is_right[compared].mean())
        if compared.all():
            before = was
        else:
            text += f" of the classes that {current.version} knows"
        text += f", {was:.3f} before"
    problem = _deployment_problem(trial, publication)
    if not problem and publication.publish_if != "always":
        if trial.current is not None:
            problem = _missing_class(trial, trial.current, publication)
        if current is None:
            problem = problem or _first_model_problem(trial, publication)
        else:
            problem = problem or _comparison_problem(trial, current, publication)
    unchecked = _unchecked(trial, publication) if not problem and current is not None else ""
    if publication.publish_if == "always" and not problem:
        note, unchecked = note or "publish_if is always", ""
    return Verdict(not problem, "; ".join(filter(None, (text, note, problem, unchecked))), before)


def _deployment_problem(trial: Trial, publication: Publication) -> str:
    """Return why a model must not run whatever it says of images; "" if it may."""
    if not trial.parity <= PARITY_TOLERANCE:
        return (
            f"model.tflite differs from model.keras by {trial.parity:.2g}; at most "
            f"{PARITY_TOLERANCE:g} is accepted"
        )
    limit = publication.max_latency_ms
    if limit and trial.latency_ms > limit:
        return f"one image takes {trial.latency_ms:.3g} ms; max_latency_ms is {limit:g}"
    return ""


def _missing_class(trial: Trial, current: CurrentModel, publication: Publication) -> str:
    """Return which guarded class a model does not have, and the current one does; "" for none."""
    gone = set(publication.guarded_classes) & {*current.classes} - {*trial.classes}
    return f"it does not have the guarded {name_list(sorted(gone))}" if gone else ""


def _first_model_problem(trial: Trial, publication: Publication) -> str:
    """Return why a model with nothing to be compared with must not run; "" if it may."""
    least = publication.first_model_min_accuracy
    if trial.is_right.mean() < least:
        return f"first_model_min_accuracy is {least:g}"
    recalls = [values["recall"] for values in trial.per_class().values()]
    guess = 1 / len(recalls) if len(recalls) > 1 else 1 / len(trial.classes)
    mean = float(np.mean(recalls))
    if mean <= guess:
        return (
            f"its mean recall {mean:.3f} is no better than a guess, {guess:.3f}: it needs more "
            "rounds or images"
        )
    return ""


def _comparison_problem(trial: Trial, current: CurrentModel, publication: Publication) -> str:
    """Return why a model must not replace the current one; "" if it may."""
    both_know = trial.both_know
    lost, gained = _exchanged(trial, current, both_know)
    loss = (lost - gained) / int(both_know.sum())
    margin = publication.margin
    if publication.publish_if == "better_by":
        if lost >= gained or -loss < margin:
            return f"publish_if better_by asks for {margin:g} more"
    elif lost - gained >= _MIN_LOST_IMAGES:
        if loss > margin:
            return f"publish_margin is {margin:g}"
        if one_sided(lost, gained) <= SIGNIFICANCE:
            return f"it loses {_images(lost)} and gains {gained}, which is no chance"
    for number, name in enumerate(trial.classes):
        if name in publication.guarded_classes:
            chosen = both_know & (trial.labels == number)
            lost, gained = _exchanged(trial, current, chosen)
            if lost > gained:
                return (
                    f"of the guarded class {name!r} it finds {lost - gained} fewer of "
                    f"{int(chosen.sum())}"
                )
    return ""


def _exchanged(trial: Trial, current: CurrentModel, chosen: NDArray[np.bool_]) -> tuple[int, int]:
    """Return how many of the chosen images the current model names alone, and the new one."""
    lost = current.is_right & ~trial.is_right & chosen
    gained = trial.is_right & ~current.is_right & chosen
    return int(lost.sum()), int(gained.sum())


def _unchecked(trial: Trial, publication: Publication) -> str:
    """Return the guarded classes of which this robot holds no image out; "" for none."""
    seen = {trial.classes[number] for number in np.unique(trial.labels)}
    absent = [name for name in publication.guarded_classes if name not in seen]
    return f"no held-out image of the guarded {name_list(absent)}" if absent else ""


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"
