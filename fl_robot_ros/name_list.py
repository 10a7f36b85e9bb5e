"""Names in one line of bounded length."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping


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


def count_list(counts: Mapping[str, int], most: int = 8) -> str:
    """Return "'a' (5), 'b' (1)" in the order of the names, or of more the first as `name_list`.

    Args:
        counts: Numbers by name.
        most: Names that are written out, 1 or more.
    """
    return name_list((f"{name!r} ({count:,})" for name, count in sorted(counts.items())), most)
