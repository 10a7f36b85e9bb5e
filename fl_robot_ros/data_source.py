"""Where the images of a run come from: the captured dataset, or data from elsewhere."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from fl_robot_ros.config import ClientSettings, expand_path
from fl_robot_ros.errors import SettingError

_EXPECTED = "'capture', 'folder:/path', 'tfds:/path/name/1.0.0' or 'hub:owner/name'"
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)


class SourceKind(str, Enum):
    """What holds the images of a run."""

    CAPTURE = "capture"
    FOLDER = "folder"
    TFDS = "tfds"
    HUB = "hub"

    def __str__(self) -> str:
        return self.value


_ELSEWHERE = (SourceKind.FOLDER, SourceKind.TFDS, SourceKind.HUB)


@dataclass(frozen=True)
class DataSource:
    """One source of labelled images, as the settings describe it.

    Attributes:
        kind: What holds the images.
        location: Absolute folder, or the name of a hub dataset; "" for the captured dataset.
        partition_id: This robot's part of a hub dataset, from 0.
        num_partitions: Parts of a hub dataset, 1 or more.
        dirichlet_alpha: 0: equal parts with the same mix of labels; above: the concentration of
            the Dirichlet distribution of the mixes.
        holdout_fraction: Share of each class to hold out, above 0 and below 1, where the source
            has no split for evaluation.
    """

    kind: SourceKind
    location: str
    partition_id: int
    num_partitions: int
    dirichlet_alpha: float
    holdout_fraction: float

    @classmethod
    def from_settings(cls, settings: ClientSettings) -> DataSource:
        """Read the client's settings, and check the source if it lies on this disk.

        Raises:
            SettingError: The kind is unknown, the folder is missing, the name is invalid, or
                the partition does not exist or belongs to a source without partitions.
        """
        text = settings.dataset_source
        name, _, location = text.partition(":")
        if text != SourceKind.CAPTURE and (name not in _ELSEWHERE or not location):
            raise SettingError(f"dataset_source is {text!r}; expected {_EXPECTED}")
        kind = SourceKind(name)
        if kind in (SourceKind.FOLDER, SourceKind.TFDS) or location[:1] in tuple("/~.$"):
            location = str(_existing_folder(text, location))
        elif kind == SourceKind.HUB and not _HUB_NAME.fullmatch(location):
            raise SettingError(
                f"dataset_source is {text!r}; expected the name of a hub dataset, as in "
                "'hub:uoft-cs/cifar10', or the path of a copy"
            )
        if kind == SourceKind.TFDS and not Path(location, "dataset_info.json").is_file():
            raise SettingError(
                f"dataset_source is {text!r}; expected a version folder of TensorFlow Datasets, "
                "as in 'tfds:/path/name/1.0.0', with a dataset_info.json"
            )
        _check_partition(settings, kind)
        return cls(
            kind,
            location,
            settings.partition_id,
            settings.num_partitions,
            settings.dirichlet_alpha,
            settings.holdout_fraction,
        )

    @property
    def is_captured(self) -> bool:
        """Whether the source is the robot's own dataset."""
        return self.kind == SourceKind.CAPTURE

    def __str__(self) -> str:
        if self.kind == SourceKind.CAPTURE:
            return str(self.kind)
        name = f"{self.kind}:{self.location}"
        if self.kind != SourceKind.HUB:
            return name
        return f"{name}, partition {self.partition_id} of {self.num_partitions}"


def _existing_folder(text: str, location: str) -> Path:
    """Return the absolute path of a folder.

    Raises:
        SettingError: The folder does not exist.
    """
    folder = expand_path(location)
    try:
        is_there = folder.is_dir()
    except (OSError, ValueError):
        is_there = False  # no file system takes such a name
    if not is_there:
        raise SettingError(f"dataset_source is {text!r}; expected an existing folder")
    return folder


def _check_partition(settings: ClientSettings, kind: SourceKind) -> None:
    """Check the settings of the partition.

    Raises:
        SettingError: The partition does not exist, or the source has no partitions.
    """
    if kind != SourceKind.HUB:
        for name in ("partition_id", "num_partitions", "dirichlet_alpha"):
            value = getattr(settings, name)
            if value != getattr(ClientSettings, name):
                raise SettingError(
                    f"{name} is {value!r}; only a dataset_source 'hub:owner/name' is partitioned"
                )
    elif settings.partition_id >= settings.num_partitions:
        raise SettingError(
            f"partition_id is {settings.partition_id!r}; expected 0 to "
            f"{settings.num_partitions - 1}, because num_partitions is {settings.num_partitions}"
        )
