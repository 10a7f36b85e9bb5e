"""Data sources for tests."""

from __future__ import annotations

from pathlib import Path

from fl_robot_ros.data_source import DataSource, SourceKind
from fl_robot_ros.learning.learning_data import LearningData, open_learning_data


def make_source(
    kind: str,
    location: str | Path,
    partition_id: int = 0,
    num_partitions: int = 1,
    dirichlet_alpha: float = 0.0,
    holdout_fraction: float = 0.2,
) -> DataSource:
    """Return a source that is not checked."""
    return DataSource(
        SourceKind(kind),
        str(location),
        partition_id,
        num_partitions,
        dirichlet_alpha,
        holdout_fraction,
    )


def open_data(source: DataSource) -> LearningData:
    """Open a source other than a snapshot."""
    return open_learning_data(source, None)
