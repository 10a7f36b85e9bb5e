"""The identity of a sample: topic and stamp; of frames that share both, topic and publication."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from fl_robot_ros.capture.new_sample import NewSample
from fl_robot_ros.dataset.index_writer import IndexWriter
from fl_robot_ros.dataset.sample_paths import path_of_sample


class IdentifiedBatch(NamedTuple):
    """A batch of new samples, compared with the index.

    Attributes:
        samples: The samples, with the stamps that identify them.
        known: Positions of the samples that the dataset has already.
        repeats: Topic and stamp in ns of each sample whose stamp a different frame has.
    """

    samples: list[NewSample]
    known: set[int]
    repeats: list[tuple[str, int]]


def identify(index: IndexWriter, batch: Sequence[NewSample]) -> IdentifiedBatch:
    """Identify samples, and look them up in the index.

    A frame whose topic and stamp belong to a different frame is stamped with the time of its
    publication. Frames are compared by the digests of the raw frames, since the stored files
    depend on settings; without a digest, topic and stamp decide.

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
