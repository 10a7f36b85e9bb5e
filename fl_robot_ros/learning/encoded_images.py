"""Encoded images in a sequence, as dataset libraries give them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fl_robot_ros.images.image_files import decode_image
from fl_robot_ros.images.preprocessing import Preprocessing
from fl_robot_ros.learning.split_by_class import split_by_class
from fl_robot_ros.learning.training_data import LabelledImages, Wait, choose_images, no_wait


@dataclass(frozen=True)
class EncodedImages:
    """The images of one split, always in the same order.

    Attributes:
        labels: Label of each image, "" for none.
        read: Returns the images in this order, as JPEG, PNG and so on.
    """

    labels: Sequence[str]
    read: Callable[[], Iterator[bytes]]


@dataclass(frozen=True)
class EncodedData:
    """Learning data of one or two splits.

    Attributes:
        train: The split to train on.
        holdout: The split to evaluate on; None: a share of `train` is held out.
        holdout_fraction: Share of each class to hold out without `holdout`, above 0 and below 1.
    """

    train: EncodedImages
    holdout: EncodedImages | None
    holdout_fraction: float

    def load(
        self, classes: Sequence[str], preprocessing: Preprocessing, wait: Wait = no_wait
    ) -> tuple[LabelledImages, LabelledImages]:
        """Return the training and the holdout images of a run's classes, for its input.

        Raises:
            DatasetError: The images cannot be read.
        """
        if self.holdout is not None:
            sides = [(split, range(len(split.labels))) for split in (self.train, self.holdout)]
        else:
            labels = self.train.labels
            keys = [str(position) for position in range(len(labels))]
            chosen = split_by_class(labels, keys, self.holdout_fraction)
            sides = [(self.train, side) for side in chosen]  # type: ignore[misc]
        train, holdout = (_load(*side, classes, preprocessing, wait) for side in sides)
        return train, holdout


def _load(
    encoded: EncodedImages,
    positions: Sequence[int],
    classes: Sequence[str],
    preprocessing: Preprocessing,
    wait: Wait,
) -> LabelledImages:
    """Decode the images at some positions, ascending, one at a time."""
    wanted, unmapped = choose_images(encoded.labels, classes, positions)
    images = np.empty((len(wanted), *preprocessing.input_shape), dtype=np.uint8)
    labels = np.empty(len(wanted), dtype=np.int32)
    count = 0
    for position, data in enumerate(encoded.read() if wanted else ()):
        if position not in wanted:
            continue
        wait()
        image = decode_image(data)
        if image is not None:
            images[count] = preprocessing.resize(image)
            labels[count] = wanted[position]
            count += 1
    return LabelledImages(images[:count], labels[:count], unmapped, len(wanted) - count)
