"""This robot's partition of a hub dataset, or of a local copy, as learning data."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fl_robot_ros.data_source import DataSource
from fl_robot_ros.errors import DatasetError
from fl_robot_ros.learning.encoded_images import EncodedData, EncodedImages
from fl_robot_ros.learning.hub_error import hub_error, hub_url, one_line
from fl_robot_ros.name_list import name_list

_TRAIN_SPLIT = "train"
_HUB_TIMEOUT_SEC = 10.0
# One image to train on and one to hold out.
_MIN_PARTITION_SIZE = 2
# The values that huggingface_hub takes for true.
_TRUE = ("1", "ON", "YES", "TRUE")
# All robots must draw the same partitions.
_PARTITION_SEED = 42

_logger = logging.getLogger(__name__)


def open_hub(source: DataSource) -> EncodedData:
    """Load one partition, after a download if the dataset is not on this disk yet.

    The split `train` is partitioned over the robots; a share of each class of the partition is
    held out. The first column of type `Image` holds the images, the first of type `ClassLabel`
    their labels. A hub that cannot be reached is tried once; then the cache is used.

    Raises:
        DatasetError: The dataset cannot be loaded, lacks a column, is too small for its
            partitions, or flwr-datasets is not installed.
    """
    os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    offline_reason = "" if Path(source.location).is_absolute() else _reach_hub(source)
    try:
        import datasets
        import flwr_datasets
        from flwr_datasets.partitioner import DirichletPartitioner, IidPartitioner
    except ImportError as error:
        raise _not_installed(source, error) from error
    datasets.disable_progress_bars()
    try:
        # The seed gives all robots the images in the same order.
        whole = flwr_datasets.FederatedDataset(
            dataset=source.location, partitioners={}, seed=_PARTITION_SEED
        ).load_split(_TRAIN_SPLIT)
        image = _first(source, whole.features, datasets.Image)
        label = _first(source, whole.features, datasets.ClassLabel)
        _check_size(source, len(whole))
        partitioner: Any
        if source.dirichlet_alpha > 0:
            partitioner = DirichletPartitioner(
                source.num_partitions,
                partition_by=label,
                alpha=source.dirichlet_alpha,
                min_partition_size=_MIN_PARTITION_SIZE,
                seed=_PARTITION_SEED,
            )
        else:
            partitioner = IidPartitioner(source.num_partitions)
        partitioner.dataset = whole
        part = partitioner.load_partition(source.partition_id)
        names = part.features[label].names
        labels = [
            names[number] if number is not None and 0 <= number < len(names) else ""
            for number in part[label]
        ]
        images = part.select_columns([image]).cast_column(image, datasets.Image(decode=False))
    except DatasetError:
        raise
    # The libraries raise any exception for a broken connection or invalid files.
    except Exception as error:
        raise hub_error(source, error, offline_reason) from error
    return EncodedData(
        EncodedImages(labels, lambda: _read(source, images, image)),
        None,
        source.holdout_fraction,
    )


def _reach_hub(source: DataSource) -> str:
    """Try to reach the hub; if that fails, have its library use the cache at once.

    The library alone would try six times for each of many files first.

    Returns:
        Why the hub cannot be reached; "" if it can.

    Raises:
        DatasetError: httpx is not installed.
    """
    try:
        import httpx
    except ImportError as error:
        raise _not_installed(source, error) from error
    url = hub_url()
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in _TRUE:
        return "HF_HUB_OFFLINE is set"
    try:
        httpx.head(url, timeout=_HUB_TIMEOUT_SEC)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        _logger.warning("the hub %s cannot be reached, trying the cache: %s", url, error)
        os.environ["HF_HUB_OFFLINE"] = "1"
        return one_line(error)
    return ""


def _check_size(source: DataSource, rows: int) -> None:
    """Check that every partition gets enough images.

    Raises:
        DatasetError: The dataset is too small.
    """
    if rows < source.num_partitions * _MIN_PARTITION_SIZE:
        raise DatasetError(
            f"{source} cannot be loaded: the dataset has {rows} rows; expected at least "
            f"{_MIN_PARTITION_SIZE} for each partition"
        )


def _first(source: DataSource, features: Any, kind: type) -> str:
    """Return the name of the first column of a type.

    Raises:
        DatasetError: The dataset has none.
    """
    for name, feature in features.items():
        if isinstance(feature, kind):
            return str(name)
    found = name_list(f"{name} ({type(feature).__name__})" for name, feature in features.items())
    raise DatasetError(f"{source} has no column of type {kind.__name__}; it has {found}")


def _read(source: DataSource, images: Any, image: str) -> Iterator[bytes]:
    """Yield the encoded images; b"" for a missing file.

    Raises:
        DatasetError: The dataset's own files cannot be read.
    """
    try:
        for row in images:
            value = row[image] or {}
            if value.get("bytes") is not None:
                yield value["bytes"]
                continue
            try:
                data = Path(value.get("path") or "").read_bytes()
            except OSError:
                data = b""  # counted as unreadable
            yield data
    except (OSError, ValueError) as error:
        raise hub_error(source, error) from error


def _not_installed(source: DataSource, error: ImportError) -> DatasetError:
    return DatasetError(
        f"data source {source} needs flwr-datasets beside Flower: "
        f"pip install 'fl_robot_ros[hub]' ({error})"
    )
