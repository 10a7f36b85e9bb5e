"""Number and size of the samples by label, kept in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from fl_robot_ros.dataset.index_writer import IndexWriter


class SampleTotals:
    """Owns the counters of a dataset, which follow its index.

    A change replaces a counter as a whole, so that readers need no lock.

    Attributes:
        counts: Number of samples by label, "" for the review pool.
        sizes: Size of their files by label, in bytes.
        last_id: Id of the newest sample, 0 for an empty dataset.
    """

    def __init__(self) -> None:
        """Start with empty counters."""
        self.counts: Counter[str] = Counter()
        self.sizes: Counter[str] = Counter()
        self.last_id = 0
        self._version = -1

    def follow(self, index: IndexWriter) -> None:
        """Read the index again after a write of another connection.

        Raises:
            sqlite3.Error: The index cannot be read.
        """
        version = index.version()
        if version != self._version:
            self._version = version
            self.read(index)

    def read(self, index: IndexWriter) -> None:
        """Read the index.

        Raises:
            sqlite3.Error: The index cannot be read.
        """
        totals = index.totals()
        self.counts = Counter({label: count for label, count, _ in totals})
        self.sizes = Counter({label: size for label, _, size in totals})
        self.last_id = index.newest_id()

    def add(self, changes: Iterable[tuple[str, int, int]]) -> None:
        """Add changes: label, number of samples and bytes, negative for what was removed."""
        counts, sizes = self.counts.copy(), self.sizes.copy()
        for label, samples, size_bytes in changes:
            counts[label] += samples
            sizes[label] += size_bytes
        self.counts, self.sizes = counts, sizes
