"""Near-duplicates: frames that look like recently kept ones."""

from __future__ import annotations

from collections import OrderedDict, deque
from contextlib import suppress

# Kept frames of a class for comparison.
_RECENT = 32
# Pairs of class and topic in memory; a hostile publisher must not fill it.
_MAX_CLASSES = 1000


class DuplicateFilter:
    """Remembers the fingerprints of recent images of each topic and label."""

    def __init__(self, min_difference_bits: int) -> None:
        """Make a filter.

        Args:
            min_difference_bits: Bits, of 64, in which an image must differ from every recent
                one; 0 lets all pass.
        """
        self._min_difference_bits = min_difference_bits
        self._recent: OrderedDict[tuple[str, str], deque[int]] = OrderedDict()

    def is_duplicate(self, topic: str, label: str, fingerprint: int) -> bool:
        """Return whether an image looks like a recent one; if not, remember the image."""
        if not self._min_difference_bits:
            return False
        recent = self._recent.setdefault((topic, label), deque(maxlen=_RECENT))
        self._recent.move_to_end((topic, label))
        if len(self._recent) > _MAX_CLASSES:
            self._recent.popitem(last=False)
        # int.bit_count came with Python 3.10.
        if any((fingerprint ^ old).bit_count() < self._min_difference_bits for old in recent):
            return True
        recent.append(fingerprint)
        return False

    def forget(self, topic: str, label: str, fingerprint: int) -> None:
        """Forget an image that was not kept after all."""
        with suppress(KeyError, ValueError):
            self._recent[topic, label].remove(fingerprint)
