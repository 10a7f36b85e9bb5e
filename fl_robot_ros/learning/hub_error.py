"""What is told of a hub dataset that cannot be loaded, in one line that says what to do."""

from __future__ import annotations

import os
from json import JSONDecodeError

from fl_robot_ros.data_source import DataSource
from fl_robot_ros.errors import DatasetError

_HUB_URL = "https://huggingface.co"
_MAX_REASON_LENGTH = 300


def hub_url() -> str:
    """Return the address of the hub, which a variable of its library may change."""
    return os.environ.get("HF_ENDPOINT") or _HUB_URL


def hub_error(source: DataSource, error: Exception, offline_reason: str = "") -> DatasetError:
    """Return the error for a dataset that cannot be loaded.

    Args:
        source: The dataset.
        error: What its libraries raised.
        offline_reason: Why the hub cannot be reached; "" where it was, or was not needed.
    """
    import datasets
    import httpx

    problem = f"{source} cannot be loaded"
    copy = "copy the dataset to this disk and set 'hub:/path'"
    error = _telling(error)
    reason = f"{type(error).__name__}: {one_line(error)}"
    if isinstance(error, (httpx.HTTPError, ConnectionError)):
        if offline_reason:
            return DatasetError(
                f"{problem}: the hub {hub_url()} cannot be reached ({offline_reason}), and the "
                f"dataset is not in the cache; see to the connection, or {copy}"
            )
        return DatasetError(
            f"{problem}: the download from {hub_url()} failed: {reason}; try again, or {copy}"
        )
    if isinstance(error, datasets.exceptions.DatasetNotFoundError):
        reason += " See to its name; for one that is not public set HF_TOKEN"
    elif _tells_of_damage(error):
        reason += (
            f"; if the copy in the cache {datasets.config.HF_CACHE_HOME} is damaged, remove it"
        )
    return DatasetError(f"{problem}: {reason}")


def _telling(error: Exception) -> Exception:
    """Return the error below those in which the library wraps it, which say little."""
    from datasets.exceptions import DatasetGenerationError
    from huggingface_hub.errors import LocalEntryNotFoundError

    wrappers = (DatasetGenerationError, FileNotFoundError, LocalEntryNotFoundError)
    while type(error) in wrappers:
        below = error.__cause__ or error.__context__
        if not isinstance(below, Exception):
            break
        error = below
    return error


def _tells_of_damage(error: Exception) -> bool:
    """Return whether a file was found and could not be understood."""
    import pyarrow

    # Arrow raises an OSError of its own for a file that ends too early.
    if type(error) is OSError:
        return error.errno is None
    return isinstance(error, (pyarrow.ArrowException, JSONDecodeError))


def one_line(error: Exception) -> str:
    """Return what an error says, cut where it is long."""
    return " ".join(str(error).split())[:_MAX_REASON_LENGTH]
