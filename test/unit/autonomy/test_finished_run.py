"""What there is since the newest run."""

from __future__ import annotations

import math

from fl_robot_ros.autonomy.finished_run import FinishedRun, hours_since_run, new_samples
from fl_robot_ros.autonomy.reading import KeptReading, Reading
from fl_robot_ros.capture.new_sample import NewSample
from fl_robot_ros.dataset.dataset import Dataset


def store(dataset: Dataset, *labels: str) -> None:
    first = dataset.last_id() + 1
    dataset.add(
        [
            NewSample(label, "camera", first + number, b"x%d" % (first + number), 1, 1)
            for number, label in enumerate(labels)
        ]
    )


def test_new_samples_are_those_stored_or_labelled_since(dataset: Dataset) -> None:
    store(dataset, "cat", "cat", "", "dog", "")
    assert new_samples(dataset, None).value == 3
    run = FinishedRun(0.0, newest_id=dataset.last_id(), labelled=3)
    assert new_samples(dataset, run).value == 0
    store(dataset, "dog", "")
    assert new_samples(dataset, run).value == 1
    # A person labels the review pool, with images that were there before.
    dataset.relabel([3, 5], "cat")
    assert new_samples(dataset, run).value == 3
    # Old samples make room for new ones.
    dataset.remove([1, 2, 3, 4, 5])
    assert (new_samples(dataset, run).value, new_samples(dataset, run).text) == (1, "1")
    dataset.close()
    assert not new_samples(dataset, run).is_known


def test_hours_since_a_run() -> None:
    assert hours_since_run(None, 0.0).text == "no run yet"
    run = FinishedRun(3600.0, 0, 0)
    assert hours_since_run(run, 9000.0).text == "1.5"
    assert (hours_since_run(run, 0.0).value or 0.0) < 0.0  # the clock was set back
    # Years ahead when the run ended: the robot does not wait for years.
    run = FinishedRun(2e9, 0, 0)
    assert hours_since_run(run, 1.8e9) == Reading(math.inf, "unknown: the clock was set back")


def test_a_reading_is_kept_for_two_seconds_unless_the_run_is_another() -> None:
    number, run = [0], [1]

    def read() -> Reading:
        number[0] += 1
        return Reading(number[0], "")

    kept = KeptReading(read, depends_on=lambda: run[0])
    assert [kept(now).value for now in (5.0, 6.9, 7.0, 8.9)] == [1, 1, 2, 2]
    run[0] = 2
    assert [kept(now).value for now in (8.9, 9.0)] == [3, 3]
