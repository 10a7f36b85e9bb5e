"""Whether one of two models is better on the same images, or was lucky: McNemar's test.

Psychometrika 12, 1947, in its exact form, a sign test on the images that one of the models alone
gets right; Dietterich (Neural Computation 10, 1998) recommends it for two classifiers on one set
of images.
"""

from __future__ import annotations

import math
from fractions import Fraction

# Beyond as many images, the exact sum is replaced by its approximation.
_MOST_EXACT = 1000


def one_sided(lost: int, gained: int) -> float:
    """Return how likely so many images or more are lost by chance, between equally good models.

    Args:
        lost: Images that the first model alone gets right, 0 or more.
        gained: Images that the second model alone gets right, 0 or more.

    Returns:
        P(X >= lost) for X of a binomial distribution with lost + gained trials of one half; beyond
        1000 images by the normal distribution with Edwards' correction; 0 to 1.
    """
    total = lost + gained
    if total > _MOST_EXACT:
        return 0.5 * math.erfc((lost - gained - 1) / math.sqrt(2 * total))
    ways = sum(math.comb(total, count) for count in range(lost, total + 1))
    return float(Fraction(ways, 2**total))


def two_sided(only_first: int, only_second: int) -> float:
    """Return how likely chance alone makes such a difference, in either direction, 0 to 1."""
    most, least = max(only_first, only_second), min(only_first, only_second)
    return min(1.0, 2 * one_sided(most, least))
