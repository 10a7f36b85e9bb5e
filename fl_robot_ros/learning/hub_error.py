"""One line of advice for a hub dataset that cannot be loaded."""

from __future__ import annotations

import os
from json import JSONDecodeError

from fl_robot_ros.data_source import DataSource
from fl_robot_ros.errors import DatasetError

_HUB_URL = "https://huggingface.co"
_MAX_REASON_LENGTH = 300


def hub_url() -> str:
    """Return the address of the hub: the variable HF_ENDPOINT, else the public one."""
    return os.environ.get("HF_ENDPOINT") or _HUB_URL


def hub_error(source: DataSource, error: Exception, offline_reason: str = "") -> DatasetError:
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
    reason = f"{type(error).__name__}: {one_line(error)}"
    if isinstance(error, (httpx.HTTPError, ConnectionError)):
        if offline_reason:
            return DatasetError(
                f"{problem}: the hub {hub_url()} cannot be reached ({offline_reason}), and the "
                f"dataset is not in the cache; check the connection, or {copy}"
            )
        return DatasetError(
            f"{problem}: the download from {hub_url()} failed: {reason}; try again, or {copy}"
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


def one_line(error: Exception) -> str:
    """Return the text of an error as one line of at most 300 characters."""
    return " ".join(str(error).split())[:_MAX_REASON_LENGTH]
