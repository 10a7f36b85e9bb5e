"""Training and holdout images by class, for images without a time."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence


def split_by_class(
    labels: Sequence[str], keys: Sequence[str], holdout_fraction: float
) -> tuple[list[int], list[int]]:
    """Hold out a share of each class.

    The images of a class are sorted by a hash of their keys, and the first ones are held out. The
    split looks random, is the same in every run, and hardly changes when images are added. A
    class of two or more images is on both sides; a single image is for training.

    Args:
        labels: Label of each image.
        keys: A lasting name of each image, such as its path.
        holdout_fraction: Share to hold out, above 0 and below 1.

    Returns:
        Positions of the training and of the holdout images, ascending.
    """
    by_label: dict[str, list[int]] = defaultdict(list)
    for position, label in enumerate(labels):
        by_label[label].append(position)
    train: list[int] = []
    holdout: list[int] = []
    for positions in by_label.values():
        positions.sort(key=lambda position: _hash(keys[position]))
        count = len(positions)
        wanted = min(max(round(holdout_fraction * count), 1), count - 1)
        holdout += positions[:wanted]
        train += positions[wanted:]
    return sorted(train), sorted(holdout)


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode(errors="surrogateescape")).digest()
