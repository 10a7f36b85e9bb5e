"""How many samples there are of each label, known without asking the index each time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from fl_robot_ros.dataset.sample_index import SampleIndex


class SampleTotals:
    """The numbers of a dataset.

    The counters are replaced as a whole, never changed in place: readers take no lock.

    Attributes:
        counts: Number of samples by label, "" for the review pool.
        sizes: Bytes of their files by label.
        last_id: Id of the newest sample, 0 where there is none.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self.counts: Counter[str] = Counter()
        self.sizes: Counter[str] = Counter()
        self.last_id = 0
        self._version = -1

    def follow(self, index: SampleIndex) -> None:
        """Read the numbers anew where another connection has written to the index.

        Raises:
            sqlite3.Error: The index cannot be read.
        """
        version = index.version()
        if version != self._version:
            self._version = version
            self.read(index)

    def read(self, index: SampleIndex) -> None:
        """Read the numbers.

        Raises:
            sqlite3.Error: The index cannot be read.
        """
        totals = index.totals()
        self.counts = Counter({label: count for label, count, _ in totals})
        self.sizes = Counter({label: size for label, _, size in totals})
        self.last_id = index.newest_id()

    def add(self, changes: Iterable[tuple[str, int, int]]) -> None:
        """Take account of changes: label, samples and bytes that came, below 0 that went."""
        counts, sizes = self.counts.copy(), self.sizes.copy()
        for label, samples, size_bytes in changes:
            counts[label] += samples
            sizes[label] += size_bytes
        self.counts, self.sizes = counts, sizes
