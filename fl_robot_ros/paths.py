"""Locations of the files installed with the package: launch files, YAML files, the Flower app."""

from __future__ import annotations

from pathlib import Path

from fl_robot_ros.errors import SettingError

PACKAGE = "fl_robot_ros"


def share_path(*parts: str) -> Path:
    """Return a file or folder of the package's share folder.

    In a checkout the share folder is the checkout itself; after an installation by colcon or pip
    it is share/fl_robot_ros below the prefix.

    Args:
        parts: Path below the share folder.

    Raises:
        SettingError: The file is missing, so the installation is incomplete.
    """
    module = Path(__file__).resolve()
    checkout = module.parents[1]
    if (checkout / "package.xml").is_file() and checkout.joinpath(*parts).exists():
        return checkout.joinpath(*parts)
    for prefix in module.parents:
        path = prefix.joinpath("share", PACKAGE, *parts)
        if path.exists():
            return path
    raise SettingError(f"{'/'.join(parts)} of {PACKAGE} is not installed; install it again")
