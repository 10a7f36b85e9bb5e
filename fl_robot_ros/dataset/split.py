"""Split into training and holdout by time, since neighbouring frames are near-copies."""

from __future__ import annotations

import bisect
from collections import defaultdict
from collections.abc import Sequence

from fl_robot_ros.dataset.sample import Sample
from fl_robot_ros.errors import SnapshotError

_NS_PER_SEC = 1_000_000_000
# Smallest share of a class's samples outside the holdout that the gap leaves for training.
_LEAST_TRAINED = 0.2


def split_by_time(
    samples: Sequence[Sample],
    holdout_fraction: float,
    segment_sec: float,
    gap_sec: float = 0.0,
) -> tuple[list[Sample], list[Sample]]:
    """Split samples so that no stretch of time of a class is on both sides.

    The samples of each class are cut into segments of at most `segment_sec`. Whole segments go to
    the holdout, spread over time, so that its share follows the fraction. A class whose holdout
    would be smaller than its largest segment is cut once, near its end, in a pause if there is
    one. Samples within `gap_sec` of a held-out sample of their class are on neither side; a gap
    that leaves less than a fifth of the possible training samples is halved until it leaves more.
    A class of imported photos, whose times mean nothing, has no gap. Each class of two or more
    samples is on both sides; a single sample goes to training. The split depends on the samples
    only, not on their order.

    Args:
        samples: Samples of any number of classes and topics.
        holdout_fraction: Share to hold out, above 0 and below 1.
        segment_sec: Longest segment, in s, above 0.
        gap_sec: Shortest time between training and holdout, in s.

    Returns:
        Training and holdout samples, each by time.

    Raises:
        SnapshotError: The fraction or the segment length is outside its range.
    """
    if not 0 < holdout_fraction < 1 or not segment_sec > 0:
        raise SnapshotError(
            f"holdout fraction {holdout_fraction!r} and segment length {segment_sec!r} s; "
            f"expected a fraction between 0 and 1 and a length above 0"
        )
    by_label: dict[str, list[Sample]] = defaultdict(list)
    for sample in sorted(samples, key=_by_time):
        by_label[sample.label].append(sample)
    train: list[Sample] = []
    holdout: list[Sample] = []
    for _, items in sorted(by_label.items()):
        gap_ns = 0 if all(item.is_photo for item in items) else round(gap_sec * _NS_PER_SEC)
        kept, held = _split_class(items, holdout_fraction, segment_sec, gap_ns)
        train += kept
        holdout += held
    return sorted(train, key=_by_time), sorted(holdout, key=_by_time)


def _split_class(
    items: list[Sample], holdout_fraction: float, segment_sec: float, gap_ns: int
) -> tuple[list[Sample], list[Sample]]:
    """Split the samples of one class, sorted by time."""
    segments = _cut_into_segments(items, segment_sec)
    sizes = list(map(len, segments))
    if holdout_fraction * len(items) < max(sizes):
        segments = _cut_once(items, holdout_fraction, gap_ns)
        held = set(range(1, len(segments)))
    else:
        held = _choose_segments(sizes, holdout_fraction)
    holdout = [item for index in sorted(held) for item in segments[index]]
    left = [item for index, items in enumerate(segments) if index not in held for item in items]
    train = _apart(left, holdout, gap_ns)
    # A smaller gap is better than little training data.
    if gap_ns and len(train) < _LEAST_TRAINED * (1 - holdout_fraction) * len(items):
        return _split_class(items, holdout_fraction, segment_sec, gap_ns // 2)
    return train, holdout


def _by_time(sample: Sample) -> tuple[int, str, int]:
    return (sample.stamp_ns, sample.topic, sample.id)


def _cut_into_segments(samples: Sequence[Sample], segment_sec: float) -> list[list[Sample]]:
    """Cut samples of one class, sorted by time, into segments."""
    segments: list[list[Sample]] = []
    longest_ns = segment_sec * _NS_PER_SEC
    for sample in samples:
        if segments and sample.stamp_ns - segments[-1][0].stamp_ns <= longest_ns:
            segments[-1].append(sample)
        else:
            segments.append([sample])
    return segments


def _apart(samples: list[Sample], holdout: list[Sample], gap_ns: int) -> list[Sample]:
    """Return the samples at least `gap_ns` away from all held-out samples."""
    times = [item.stamp_ns for item in holdout]

    def is_apart(sample: Sample) -> bool:
        index = bisect.bisect_left(times, sample.stamp_ns)
        neighbours = times[max(0, index - 1) : index + 1]
        return all(abs(sample.stamp_ns - time) >= gap_ns for time in neighbours)

    return list(filter(is_apart, samples))


def _cut_once(items: list[Sample], holdout_fraction: float, gap_ns: int) -> list[list[Sample]]:
    """Cut samples by time in two, the second part for holdout, never between equal times.

    The best cut costs the fewest samples: surplus or missing in the holdout, or lost to the gap.
    """
    count = len(items)
    if count == 1:
        return [items]
    times = [item.stamp_ns for item in items]
    wanted = min(count - 1, max(1, count - round(holdout_fraction * count)))

    def cost(cut: int) -> tuple[int, int]:
        taken = cut - bisect.bisect_right(times, times[cut] - gap_ns, 0, cut)
        return abs(cut - wanted) + taken, taken

    cuts = [cut for cut in range(1, count) if times[cut - 1] < times[cut]]
    cut = min(cuts or [wanted], key=cost)
    return [items[:cut], items[cut:]]


def _choose_segments(sizes: Sequence[int], holdout_fraction: float) -> set[int]:
    """Return the indices of the segments to hold out, at least one and not all.

    The debt to the holdout grows with each segment by its share; a segment is held out once the
    debt covers it. For the last segment, which needs no gap behind it, more than half is enough.
    """
    held: set[int] = set()
    owed = 0.0
    last = len(sizes) - 1
    for index, size in enumerate(sizes):
        owed += holdout_fraction * size
        if round(owed) >= size or (index == last and owed > size / 2):
            held.add(index)
            owed -= size
    if len(held) == len(sizes):
        held.remove(max(held, key=lambda index: (sizes[index], -index)))
    if not held:
        wanted = holdout_fraction * sum(sizes)
        held = {min(range(len(sizes)), key=lambda index: (abs(sizes[index] - wanted), -index))}
    return held
