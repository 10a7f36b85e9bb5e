"""Room for large images in Fast DDS, for nodes that publish images."""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fl_robot_ros.errors import SettingError
from fl_robot_ros.paths import share_path

# Fast DDS 3 reads the first, and ROS warns about the second; Fast DDS 2 reads the second.
_VARIABLE, _OLD_VARIABLE = "FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE"
# Fast DDS 3 came with Kilted, whose rclpy is 9; that of Jazzy is 7.
_RCLPY_WITH_FAST_DDS_3 = 8
# Variables by which the user chooses.
_CHOICES = (_VARIABLE, _OLD_VARIABLE, "FASTDDS_BUILTIN_TRANSPORTS")
# Fast DDS reads these from the working directory.
_PROFILE_FILES = ("DEFAULT_FASTDDS_PROFILES.xml", "DEFAULT_FASTRTPS_PROFILES.xml")


def make_room_for_large_images() -> None:
    """Have Fast DDS use `config/fastdds.xml` in this process, unless the user chose a profile.

    Call it before the first node is made; other middleware ignores it. Only the publisher's
    side matters. 120 images at 30 Hz between two processes, best effort, both with the default
    transports: 33 to 42 arrived of 640x480 rgb8, and 2 to 6 of 1920x1080. With the profile at the
    publisher alone all arrived, and with the profile at the subscriber alone no more than before.
    """
    if any(name in os.environ for name in _CHOICES):
        return
    if any(Path(name).exists() for name in _PROFILE_FILES):
        return
    try:
        os.environ[profile_variable()] = profile_path()
    except SettingError:
        return  # An incomplete installation has Fast DDS' defaults.


def profile_variable() -> str:
    """Return the name of the environment variable from which Fast DDS reads its profile."""
    return _OLD_VARIABLE if _has_fast_dds_2() else _VARIABLE


def profile_path() -> str:
    """Return the file of the profile with room for large images.

    Raises:
        SettingError: It is not installed.
    """
    return str(share_path("config", "fastdds.xml"))


def _has_fast_dds_2() -> bool:
    try:
        return int(version("rclpy").partition(".")[0]) < _RCLPY_WITH_FAST_DDS_3
    except PackageNotFoundError:  # A build of its own, so hardly an old one.
        return False
