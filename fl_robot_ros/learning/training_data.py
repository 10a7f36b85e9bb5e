"""Labelled images as arrays in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.images.image_files import read_image
from fl_robot_ros.images.preprocessing import Preprocessing

_DECODER_THREADS = 2

# Returns the image in a file, uint8 (H, W, 3), RGB; None if it cannot be read.
ImageReader = Callable[[Path], "NDArray[np.uint8] | None"]
# Called between two steps of the work, from any thread; returns when the work may go on.
Wait = Callable[[], None]


def no_wait() -> None:
    """Go on at once."""


@dataclass(frozen=True)
class LabelledImages:
    """Images with class numbers, in memory.

    Attributes:
        images: uint8 (N, height, width, channels), 0 to 255, resized to the model's input.
        labels: int32 (N,), indices into the run's class names.
        unmapped: Number of images by label, of labels that are no class of the run.
        unreadable: Number of files that cannot be read as an image.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int32]
    unmapped: Counter[str] = field(default_factory=Counter)
    unreadable: int = 0

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    def class_counts(self, num_classes: int) -> list[int]:
        """Return the number of images of each class."""
        return [int(count) for count in np.bincount(self.labels, minlength=num_classes)]


def map_label(label: str, classes: Sequence[str]) -> int | None:
    """Return the class number of a label, None if it is no class.

    An exact match counts first, then a match without regard to upper and lower case.
    """
    if label in classes:
        return classes.index(label)
    folded = [name.casefold() for name in classes]
    return folded.index(label.casefold()) if label.casefold() in folded else None


def choose_images(
    labels: Sequence[str], classes: Sequence[str], positions: Iterable[int]
) -> tuple[dict[int, int], Counter[str]]:
    """Choose the images of a run's classes.

    Args:
        labels: Label of each image.
        classes: Class names of the run.
        positions: The images to choose from.

    Returns:
        Class number by position, and the number of other images by label.
    """
    numbers = {label: map_label(label, classes) for label in set(labels)}
    unmapped: Counter[str] = Counter()
    chosen: dict[int, int] = {}
    for position in positions:
        number = numbers[labels[position]]
        if number is None:
            unmapped[labels[position]] += 1
        else:
            chosen[position] = number
    return chosen, unmapped


def load_images(
    items: Sequence[tuple[Path, str]],
    classes: Sequence[str],
    preprocessing: Preprocessing,
    read_file: ImageReader = read_image,
    wait: Wait = no_wait,
) -> LabelledImages:
    """Read image files into one array.

    Args:
        items: Image file and label of each image.
        classes: Class names of the run.
        preprocessing: The model's input.
        read_file: Reads an image; called from several threads.
        wait: Called before each image.
    """
    chosen, unmapped = choose_images([label for _, label in items], classes, range(len(items)))
    wanted = [(items[position][0], number) for position, number in chosen.items()]
    images = np.empty((len(wanted), *preprocessing.input_shape), dtype=np.uint8)
    readable = np.zeros(len(wanted), dtype=bool)

    def read(index: int) -> None:
        wait()
        image = read_file(wanted[index][0])
        if image is not None:
            images[index] = preprocessing.resize(image)
            readable[index] = True

    with ThreadPoolExecutor(_DECODER_THREADS) as pool:
        list(pool.map(read, range(len(wanted))))
    labels = np.array([number for _, number in wanted], dtype=np.int32)
    unreadable = int(np.count_nonzero(~readable))
    if unreadable:
        images, labels = images[readable], labels[readable]
    return LabelledImages(images, labels, unmapped, unreadable)
