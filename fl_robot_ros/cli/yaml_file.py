"""YAML files with settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from fl_robot_ros.errors import SettingError


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file.

    Raises:
        SettingError: The file cannot be read, or is no YAML.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingError(f"cannot read {path}: {error.strerror}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SettingError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
