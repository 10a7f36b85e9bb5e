"""Contact sheets on their way into PNG files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.atomic_file import staging_file


def write_sheet(path: Path, sheet: NDArray[np.uint8]) -> None:
    """Write a contact sheet as PNG; after an error, an older file is unchanged.

    Args:
        path: The file.
        sheet: uint8 (H, W, 3), RGB.

    Raises:
        OSError: It cannot be written; the message names the file and the reason.
    """
    is_done, data = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    try:
        if not is_done:
            raise OSError("OpenCV cannot encode it")
        if path.exists() and not path.is_file():
            path.write_bytes(data.tobytes())  # For example /dev/stdout.
        else:
            with staging_file(path) as file:
                file.write_bytes(data.tobytes())
    except OSError as error:
        raise OSError(f"cannot write {path}: {error.strerror or error}") from error
