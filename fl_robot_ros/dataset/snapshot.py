"""A snapshot: the frozen set of samples that one run trains and evaluates on."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fl_robot_ros.atomic_file import staging_file
from fl_robot_ros.dataset.dataset_reader import DatasetReader
from fl_robot_ros.dataset.sample import Sample
from fl_robot_ros.dataset.split import split_by_time
from fl_robot_ros.errors import SnapshotError

SCHEMA_VERSION = 3


@dataclass(frozen=True)
class Snapshot:
    """The samples of one run, split into training and holdout.

    Attributes:
        id: Name made of the creation time and the content hash.
        created_ns: When it was frozen, in ns since the epoch.
        dataset_dir: Absolute folder that the samples' paths are relative to.
        train: Samples to train on, oldest first.
        holdout: Samples to evaluate on, oldest first; of other time segments than `train`.
        content_hash: SHA-256 (hex) over every sample, its image's own hash among it, and the
            side it is on; equal hashes mean equal training and holdout data.
        left_out: Labelled samples on neither side: too near in time to a held out one.
    """

    id: str
    created_ns: int
    dataset_dir: Path
    train: tuple[Sample, ...]
    holdout: tuple[Sample, ...]
    content_hash: str
    left_out: int

    def class_counts(self) -> dict[str, int]:
        """Return the number of samples by label, training and holdout together."""
        return dict(sorted(Counter(item.label for item in self.train + self.holdout).items()))

    def image_path(self, sample: Sample) -> Path:
        """Return the absolute path of a sample's image file."""
        return self.dataset_dir / sample.path

    def save(self, path: Path) -> None:
        """Write the snapshot as JSON.

        Raises:
            SnapshotError: The file cannot be written.
        """
        content = {
            "schema_version": SCHEMA_VERSION,
            "id": self.id,
            "created_ns": self.created_ns,
            "dataset_dir": str(self.dataset_dir),
            "content_hash": self.content_hash,
            "left_out": self.left_out,
            "train": self.train,
            "holdout": self.holdout,
        }
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with staging_file(path) as file:
                file.write_text(json.dumps(content), encoding="utf-8")
        except OSError as error:
            raise SnapshotError(f"snapshot {path} cannot be written: {error}") from error


def freeze(
    dataset: DatasetReader,
    holdout_fraction: float,
    segment_sec: float,
    max_id: int | None = None,
    *,
    gap_sec: float = 0.0,
    clock: Callable[[], int] = time.time_ns,
) -> Snapshot:
    """Freeze the dataset as it is now.

    Args:
        dataset: The dataset; its files stay where they are.
        holdout_fraction: Share of each class's time segments kept for evaluation, 0 to 1.
        segment_sec: Longest stretch of time that goes to one side as a whole, in s.
        max_id: Take only samples up to this id; None: all.
        gap_sec: Shortest time between training and holdout of a class, in s.
        clock: Returns the time in ns since the epoch.

    Raises:
        SnapshotError: The dataset has no samples.
        DatasetError: The dataset cannot be read.
    """
    samples = dataset.samples(max_id)
    if not samples:
        raise SnapshotError(f"dataset {dataset.path} has no labelled images to take a snapshot of")
    train, holdout = split_by_time(samples, holdout_fraction, segment_sec, gap_sec)
    created_ns = clock()
    content_hash = hash_samples(train, holdout)
    return Snapshot(
        id=f"{_utc(created_ns)}-{content_hash[:8]}",
        created_ns=created_ns,
        dataset_dir=dataset.path,
        train=tuple(train),
        holdout=tuple(holdout),
        content_hash=content_hash,
        left_out=len(samples) - len(train) - len(holdout),
    )


def hash_samples(train: Sequence[Sample], holdout: Sequence[Sample]) -> str:
    """Return the SHA-256 (hex) over all fields of the samples and their sides."""
    return hashlib.sha256(json.dumps([train, holdout]).encode()).hexdigest()


def load_snapshot(path: Path) -> Snapshot:
    """Read a snapshot that `Snapshot.save` wrote.

    Raises:
        SnapshotError: The file is missing, unreadable, of another schema or altered.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SnapshotError(f"snapshot {path} cannot be read: {error}") from error
    if not isinstance(content, dict) or content.get("schema_version") != SCHEMA_VERSION:
        raise SnapshotError(f"snapshot {path} is not of schema version {SCHEMA_VERSION}")
    try:
        snapshot = Snapshot(
            id=str(content["id"]),
            created_ns=int(content["created_ns"]),
            dataset_dir=Path(content["dataset_dir"]),
            train=tuple(_from_row(row) for row in content["train"]),
            holdout=tuple(_from_row(row) for row in content["holdout"]),
            content_hash=str(content["content_hash"]),
            left_out=int(content["left_out"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise SnapshotError(
            f"snapshot {path} lacks a field or has an invalid one: {error}"
        ) from error
    if hash_samples(snapshot.train, snapshot.holdout) != snapshot.content_hash:
        raise SnapshotError(f"snapshot {path} does not match its content hash; take a new one")
    return snapshot


def _from_row(row: Any) -> Sample:
    number, label, topic, stamp_ns, path, sha256 = row
    if not all(isinstance(text, str) for text in (label, topic, path, sha256)):
        raise ValueError(f"sample {str(row)[:200]}")
    if Path(path).is_absolute() or ".." in Path(path).parts:
        raise ValueError(f"sample outside the dataset: {path[:200]!r}")
    return Sample(int(number), label, topic, int(stamp_ns), path, sha256)


def _utc(created_ns: int) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(created_ns / 1e9))
