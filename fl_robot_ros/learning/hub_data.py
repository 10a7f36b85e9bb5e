"""This robot's partition of a hub dataset, or of a local copy, as learning data."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from json import JSONDecodeError
from pathlib import Path
from typing import Any

from fl_robot_ros.data_source import DataSource
from fl_robot_ros.errors import DatasetError
from fl_robot_ros.learning.encoded_images import EncodedData, EncodedImages
from fl_robot_ros.name_list import name_list

_TRAIN_SPLIT = "train"
_HUB_URL = "https://huggingface.co"
_MAX_REASON_LENGTH = 300
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
        raise _hub_error(source, error, offline_reason) from error
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
    url = _hub_url()
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in _TRUE:
        return "HF_HUB_OFFLINE is set"
    try:
        httpx.head(url, timeout=_HUB_TIMEOUT_SEC)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        _logger.warning("the hub %s cannot be reached, trying the cache: %s", url, error)
        os.environ["HF_HUB_OFFLINE"] = "1"
        return _one_line(error)
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
        raise _hub_error(source, error) from error


def _not_installed(source: DataSource, error: ImportError) -> DatasetError:
    return DatasetError(
        f"data source {source} needs flwr-datasets beside Flower: "
        f"pip install 'fl_robot_ros[hub]' ({error})"
    )


def _hub_url() -> str:
    """Return the address of the hub: the variable HF_ENDPOINT, else the public one."""
    return os.environ.get("HF_ENDPOINT") or _HUB_URL


def _hub_error(source: DataSource, error: Exception, offline_reason: str = "") -> DatasetError:
    """Return the error for a dataset that cannot be loaded.

    Args:
        source: The dataset.
        error: The exception of its libraries.
        offline_reason: Why the hub cannot be reached; "" if it was reached or not needed.
    """
    import datasets
    import httpx

    problem = f"{source} cannot be loaded"
    copy = "copy the dataset to this disk and set 'hub:/path'"
    error = _root_cause(error)
    reason = f"{type(error).__name__}: {_one_line(error)}"
    if isinstance(error, (httpx.HTTPError, ConnectionError)):
        if offline_reason:
            return DatasetError(
                f"{problem}: the hub {_hub_url()} cannot be reached ({offline_reason}), and the "
                f"dataset is not in the cache; check the connection, or {copy}"
            )
        return DatasetError(
            f"{problem}: the download from {_hub_url()} failed: {reason}; try again, or {copy}"
        )
    if isinstance(error, datasets.exceptions.DatasetNotFoundError):
        reason += " Check its name; for a private dataset set HF_TOKEN"
    elif _is_corruption(error):
        reason += (
            f"; if the copy in the cache {datasets.config.HF_CACHE_HOME} is damaged, remove it"
        )
    return DatasetError(f"{problem}: {reason}")


def _root_cause(error: Exception) -> Exception:
    """Return the error inside the library's general ones."""
    from datasets.exceptions import DatasetGenerationError
    from huggingface_hub.errors import LocalEntryNotFoundError

    wrappers = (DatasetGenerationError, FileNotFoundError, LocalEntryNotFoundError)
    while type(error) in wrappers:
        below = error.__cause__ or error.__context__
        if not isinstance(below, Exception):
            break
        error = below
    return error


def _is_corruption(error: Exception) -> bool:
    """Return whether the error means a damaged file."""
    import pyarrow

    # Arrow raises an OSError of its own for a file that ends too early.
    if type(error) is OSError:
        return error.errno is None
    return isinstance(error, (pyarrow.ArrowException, JSONDecodeError))


def _one_line(error: Exception) -> str:
    """Return the text of an error as one line of at most 300 characters."""
    return " ".join(str(error).split())[:_MAX_REASON_LENGTH]
