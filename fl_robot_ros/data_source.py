"""Where the images of a run come from: the captured dataset, or data that is there already."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from fl_robot_ros.config import ClientSettings, expand_path
from fl_robot_ros.errors import SettingError

CAPTURE = "capture"
FOLDER = "folder"
TFDS = "tfds"
HUB = "hub"

_EXPECTED = "'capture', 'folder:/path', 'tfds:/path/name/1.0.0' or 'hub:owner/name'"
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)


@dataclass(frozen=True)
class DataSource:
    """One source of labelled images, as the settings describe it.

    Attributes:
        kind: `capture`, `folder`, `tfds` or `hub`.
        location: Absolute folder, or for `hub` the name of a dataset; "" for `capture`.
        partition_id: This robot's part of a hub dataset, from 0.
        num_partitions: Parts of a hub dataset, 1 or more.
        dirichlet_alpha: 0: equal parts with the same mix of labels; above: the concentration of
            the Dirichlet distribution that the mixes are drawn from.
        holdout_fraction: Share of each class, 0 to 1, held out where the source has no split of
            its own for that.
    """

    kind: str = CAPTURE
    location: str = ""
    partition_id: int = 0
    num_partitions: int = 1
    dirichlet_alpha: float = 0.0
    holdout_fraction: float = 0.2

    @classmethod
    def from_settings(cls, settings: ClientSettings) -> DataSource:
        """Make it from the client's settings and see that what it names on this disk is there.

        Raises:
            SettingError: The source is of no known kind, names a folder that is not there or no
                dataset, or the partition does not exist or fits no source of this kind.
        """
        text = settings.dataset_source
        kind, _, location = text.partition(":")
        if text == CAPTURE:
            location = ""
        elif kind not in (FOLDER, TFDS, HUB) or not location:
            raise SettingError(f"dataset_source is {text!r}; expected {_EXPECTED}")
        elif kind != HUB or location[0] in "/~.$":
            location = str(_existing_folder(text, location))
        elif not _HUB_NAME.fullmatch(location):
            raise SettingError(
                f"dataset_source is {text!r}; expected the name of a hub dataset, as in "
                "'hub:uoft-cs/cifar10', or an absolute path of a copy of one"
            )
        if kind == TFDS and not Path(location, "dataset_info.json").is_file():
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
        """Whether it is the robot's own dataset."""
        return self.kind == CAPTURE

    def __str__(self) -> str:
        if self.kind == CAPTURE:
            return CAPTURE
        name = f"{self.kind}:{self.location}"
        if self.kind != HUB:
            return name
        return f"{name}, partition {self.partition_id} of {self.num_partitions}"


def _existing_folder(text: str, location: str) -> Path:
    """Return an absolute folder.

    Raises:
        SettingError: It is not there.
    """
    folder = expand_path(location)
    try:
        is_there = folder.is_dir()
    except (OSError, ValueError):
        is_there = False  # a name that no file system takes
    if not is_there:
        raise SettingError(f"dataset_source is {text!r}; expected a folder that is there")
    return folder


def _check_partition(settings: ClientSettings, kind: str) -> None:
    """See that the settings of the partition mean something.

    Raises:
        SettingError: They do not.
    """
    if kind != HUB:
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
