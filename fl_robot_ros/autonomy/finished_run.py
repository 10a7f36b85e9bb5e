"""The newest run that came to its end, and what there is since."""

from __future__ import annotations

import math
from typing import NamedTuple

from fl_robot_ros.autonomy.reading import Reading
from fl_robot_ros.dataset.dataset import Dataset
from fl_robot_ros.errors import DatasetError

# A robot without a battery for its clock may have been years ahead at the end of a run.
_EARLIEST_HOURS = -24.0


class FinishedRun(NamedTuple):
    """A run that came to its end.

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
        now: Time in s since the epoch. Where the clock was set back a little, the hours are
            negative; by more than a day, the time of the run is wrong, and the hours are infinite.
    """
    if finished is None:
        return Reading(math.inf, "no run yet")
    hours = (now - finished.ended_at) / 3600.0
    if hours < _EARLIEST_HOURS:
        return Reading(math.inf, "unknown: the clock was set back")
    return Reading(hours, f"{hours:.1f}")
