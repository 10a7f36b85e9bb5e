"""Names in one line of bounded length."""

from __future__ import annotations

import itertools
from collections.abc import Iterable


def name_list(names: Iterable[object], most: int = 8) -> str:
    """Return "a, b, c", or of a longer list "a, b and 998 more"; "" for no name.

    Args:
        names: What is listed, in this order.
        most: Names that are written out, 1 or more.
    """
    left = iter(names)
    text = ", ".join(map(str, itertools.islice(left, most)))
    more = sum(1 for _ in left)
    return f"{text} and {more:,} more" if more else text
