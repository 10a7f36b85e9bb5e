"""By what a frame is known: its topic and stamp, or where another has both, its publication."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from fl_robot_ros.capture.new_sample import NewSample
from fl_robot_ros.dataset.sample_index import SampleIndex
from fl_robot_ros.dataset.sample_paths import path_of_sample


class IdentifiedBatch(NamedTuple):
    """Samples on their way into a dataset.

    Attributes:
        samples: The samples with the stamps that they are known by.
        known: Positions of those that the dataset has.
        repeats: Topics and stamps, in ns, that a frame of another image has already.
    """

    samples: list[NewSample]
    known: set[int]
    repeats: list[tuple[str, int]]


def identify(index: SampleIndex, batch: Sequence[NewSample]) -> IdentifiedBatch:
    """Find out by what samples are known, and whether they are.

    A frame that shows something else than the one with its topic and stamp gets the time of its
    publication as its stamp. What another frame shows is compared by digests of the frames, not
    of the files, which depend on settings; where there is no digest, topic and stamp decide.

    Raises:
        sqlite3.Error: The index cannot be read.
        DatasetError: A stamp has more than 64 bits.
    """
    samples = list(batch)
    found = index.known(list(map(_key, samples)))
    first_digests: dict[tuple[str, int], str] = {}
    repeats = {}
    for number, sample in enumerate(samples):
        place = sample.topic, sample.stamp_ns
        first = first_digests.setdefault(place, sample.frame_digest)
        digest = found.get(number, first)
        is_other = digest and sample.frame_digest and digest != sample.frame_digest
        if is_other and sample.published_ns is not None:
            repeats[number] = place
            samples[number] = sample._replace(stamp_ns=sample.published_ns)
    known = found.keys() - repeats.keys()
    if repeats:
        numbers = list(repeats)
        again = index.known([_key(samples[number]) for number in numbers])
        known |= {numbers[position] for position in again}
    return IdentifiedBatch(samples, known, list(repeats.values()))


def _key(sample: NewSample) -> tuple[str, int, str]:
    return sample.topic, sample.stamp_ns, path_of_sample(sample)
