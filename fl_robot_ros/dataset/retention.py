"""The choice of samples to evict from a dataset beyond its budget."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The budget of a dataset; 0 is no limit.

    Attributes:
        samples_per_label: Most samples of one label.
        unlabelled: Most samples without a label.
        total_bytes: Most bytes of image files.
    """

    samples_per_label: int = 0
    unlabelled: int = 0
    total_bytes: int = 0

    def samples_of(self, label: str) -> int:
        """Return the most samples of a label, "" for none."""
        return self.samples_per_label if label else self.unlabelled


def fair_share(sizes: Iterable[int], total: int) -> int:
    """Return the size at which the larger of several parts must be cut to fit in a total.

    Args:
        sizes: The parts' sizes now; parts below the share keep theirs.
        total: The most that all parts may have together, in the same unit.
    """
    in_order = sorted(sizes)
    rest = total
    for index, size in enumerate(in_order):
        share = rest // (len(in_order) - index)
        if size > share:
            return share
        rest -= size
    return total


def choose_victims(
    stamps_ns: Sequence[int], count: int, evictable: Sequence[bool] | None = None
) -> list[int]:
    """Choose the samples of one label that the dataset can spare best.

    The next victim is always the sample whose two neighbours in time are nearest to each other.
    So the rest stays spread over the whole time of capture: a rare old condition keeps its few
    samples while a long stay at one place is thinned out. The oldest and the newest go last.

    Args:
        stamps_ns: Capture times in ns, ascending.
        count: Number of victims.
        evictable: Whether each sample may be chosen; None: all may.

    Returns:
        Indices of the victims, fewer than `count` where fewer are evictable.
    """
    size = len(stamps_ns)
    before, after = list(range(-1, size - 1)), list(range(1, size + 1))

    def gap_ns(index: int) -> float:
        if before[index] < 0 or after[index] >= size:
            return float("inf")
        return stamps_ns[after[index]] - stamps_ns[before[index]]

    heap = [(gap_ns(index), index) for index in range(size) if not evictable or evictable[index]]
    heapq.heapify(heap)
    victims: list[int] = []
    while heap and len(victims) < count:
        gap, index = heapq.heappop(heap)
        now = gap_ns(index)
        if gap != now:
            # A neighbour was chosen since.
            heapq.heappush(heap, (now, index))
            continue
        victims.append(index)
        if before[index] >= 0:
            after[before[index]] = after[index]
        if after[index] < size:
            before[after[index]] = before[index]
    return victims
