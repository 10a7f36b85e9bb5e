"""A folder of TensorFlow Datasets as learning data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from fl_robot_ros.errors import DatasetError
from fl_robot_ros.learning.encoded_images import EncodedData, EncodedImages
from fl_robot_ros.name_list import name_list

_TRAIN_SPLIT = "train"
_HOLDOUT_SPLITS = ("test", "validation")


def open_tfds(folder: Path, holdout_fraction: float) -> EncodedData:
    """Open a version folder of TensorFlow Datasets.

    The feature of type `Image` holds the images, the one of type `ClassLabel` their labels; of
    several the one named `image` or `label`, else the first by name. The split `train` is for
    training, and `test`, else `validation`, for evaluation; without them a share of each class
    is held out.

    Args:
        folder: Folder with dataset_info.json, features.json and the records.
        holdout_fraction: Share of each class to hold out, above 0 and below 1.

    Raises:
        DatasetError: The folder cannot be read, lacks a feature or the split `train`, or
            tensorflow-datasets is not installed.
    """
    try:
        import tensorflow_datasets as tfds
        from google.protobuf import json_format
    except ImportError as error:
        raise DatasetError(
            f"data source tfds:{folder} needs tensorflow-datasets beside TensorFlow: "
            f"pip install 'fl_robot_ros[tfds]' ({error})"
        ) from error
    try:
        builder = tfds.builder_from_directory(folder)
        features = dict(builder.info.features)
    except (
        *(OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError),
        *(ImportError, json_format.Error),
    ) as error:
        raise _unreadable(folder, error) from error
    image = _choose(folder, features, tfds.features.Image, "image")
    if features[image].np_dtype not in (np.uint8, np.uint16):
        raise DatasetError(
            f"{folder}: feature {image!r} is of type {np.dtype(features[image].np_dtype)}; "
            "expected images of uint8 or uint16"
        )
    label = _choose(folder, features, tfds.features.ClassLabel, "label")
    names = features[label].names or [str(number) for number in range(features[label].num_classes)]
    splits = [name for name, split in builder.info.splits.items() if split.num_examples]
    if _TRAIN_SPLIT not in splits:
        raise DatasetError(f"{folder} has the splits {splits}; expected one named 'train'")
    held = next((name for name in _HOLDOUT_SPLITS if name in splits), None)

    def open_split(split: str) -> EncodedImages:
        numbers = [int(row[label]) for row in _rows(builder, split, label)]
        labels = [names[number] if 0 <= number < len(names) else "" for number in numbers]
        return EncodedImages(
            labels, lambda: (bytes(row[image]) for row in _rows(builder, split, image))
        )

    return EncodedData(
        open_split(_TRAIN_SPLIT), None if held is None else open_split(held), holdout_fraction
    )


def _choose(folder: Path, features: dict[str, Any], kind: type, usual: str) -> str:
    """Return the name of the feature of a type: the usual name, else the first of them.

    Raises:
        DatasetError: The dataset has none.
    """
    # The order of features is arbitrary.
    names = sorted(name for name, feature in features.items() if isinstance(feature, kind))
    if names:
        return usual if usual in names else names[0]
    found = name_list(f"{name} ({type(features[name]).__name__})" for name in sorted(features))
    raise DatasetError(
        f"{folder} has no feature of type {kind.__name__}; it has {found or 'none at all'}"
    )


def _rows(builder: Any, split: str, wanted: str) -> Iterator[Any]:
    """Yield one feature of a split's rows, always in the same order; images stay encoded.

    Raises:
        DatasetError: The records cannot be read.
    """
    import tensorflow_datasets as tfds

    skip = {
        name: tfds.decode.SkipDecoding()
        for name, feature in builder.info.features.items()
        if isinstance(feature, tfds.features.Image)
    }
    try:
        # tf.data does not read records with random access, and the data source reads no others.
        if builder.info.file_format in tfds.core.FileFormat.with_random_access():
            yield from builder.as_data_source(split, decoders=skip)
            return
        rows = builder.as_dataset(
            split=split,
            decoders=tfds.decode.PartialDecoding(
                {wanted: True},
                decoders={name: value for name, value in skip.items() if name == wanted},
            ),
            read_config=tfds.ReadConfig(try_autocache=False),
            shuffle_files=False,
        )
        yield from rows.as_numpy_iterator()
    except (OSError, ValueError, RuntimeError, tf.errors.OpError) as error:
        raise _unreadable(builder.data_dir, error) from error


def _unreadable(folder: Any, error: Exception) -> DatasetError:
    """Return the error for a folder that TensorFlow Datasets cannot read."""
    reason = (str(error).strip().splitlines() or [""])[0][:300]
    return DatasetError(
        f"TensorFlow Datasets cannot read {folder}: {type(error).__name__}: {reason}"
    )
