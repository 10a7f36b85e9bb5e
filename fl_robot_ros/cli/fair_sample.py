"""A fair choice of some of many images."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence


def spread(count: int, limit: int) -> list[int]:
    """Return up to `limit` of `count` places in order, one from each of as many equal stretches.

    Where in its stretch is drawn, always alike, so that the choice keeps no step with what comes
    in turn, such as the frames of two cameras.

    Args:
        count: Number of places, 0 or more.
        limit: Most places to choose, 1 or more.
    """
    if limit >= count:
        return list(range(count))
    draw = random.Random(0)
    return [
        draw.randrange(number * count // limit, (number + 1) * count // limit)
        for number in range(limit)
    ]


def fair_sample(labels: Sequence[str], limit: int) -> list[int]:
    """Return the places of up to `limit` images in order, spread evenly over each label's images.

    Every label has one image at least, as far as the limit goes, and beyond that its share of all
    images, so that the accuracy on the sample estimates that on all.

    Args:
        labels: Label of each image, in the order of time or name.
        limit: Most images to choose, 1 or more.
    """
    places = defaultdict(list)
    for place, label in enumerate(labels):
        places[label].append(place)
    groups = [places[label] for label in sorted(places)]
    if limit < len(groups):
        groups = [groups[number] for number in spread(len(groups), limit)]
    shared, further = limit - len(groups), max(1, len(labels) - len(groups))
    chosen: list[int] = []
    before = 0
    for group in groups:
        after = before + len(group) - 1
        share = 1 + after * shared // further - before * shared // further
        chosen += [group[number] for number in spread(len(group), share)]
        before = after
    return sorted(chosen)
