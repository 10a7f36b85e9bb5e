"""The newest run that brought a model, and what there is since."""

from __future__ import annotations

import math
from typing import NamedTuple

from fl_robot_ros.autonomy.reading import Reading
from fl_robot_ros.dataset.dataset import Dataset
from fl_robot_ros.errors import DatasetError


class FinishedRun(NamedTuple):
    """A run that brought a model.

    Attributes:
        ended_at: Time in s since the epoch.
        newest_id: Id of the newest sample that it could learn from.
        labelled: Labelled samples of the dataset at its start.
    """

    ended_at: float
    newest_id: int
    labelled: int


def new_samples(dataset: Dataset, finished: FinishedRun | None) -> Reading:
    """Return the number of labelled samples that the run could not learn from.

    Those stored later or, where a person has labelled older ones since, as many as there are more
    now. A full dataset removes old samples for new ones, and has not more of them.

    Args:
        dataset: The robot's dataset.
        finished: The run; None before the first.
    """
    try:
        number = len(dataset)
        if finished is not None:
            later = dataset.num_labelled_after(finished.newest_id)
            number = max(number - finished.labelled, later)
    except DatasetError as error:
        return Reading.unknown(str(error))
    return Reading(number, str(number))


def hours_since_run(finished: FinishedRun | None, now: float) -> Reading:
    """Return the hours since the end of the run; infinite before the first.

    Args:
        finished: The run; None before the first.
        now: Time in s since the epoch; where the clock was set back, the hours are negative.
    """
    if finished is None:
        return Reading(math.inf, "no run yet")
    hours = (now - finished.ended_at) / 3600.0
    return Reading(hours, f"{hours:.1f}")
