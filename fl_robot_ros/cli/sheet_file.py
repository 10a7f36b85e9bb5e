"""Contact sheets on their way into PNG files."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray


def write_sheet(path: Path, sheet: NDArray[np.uint8]) -> None:
    """Write a contact sheet as PNG; where that fails, an older file stays as it was.

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
        _write_whole(path, data.tobytes())
    except OSError as error:
        raise OSError(f"cannot write {path}: {error.strerror or error}") from error


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file beside its place and rename it."""
    if path.exists() and not path.is_file():
        path.write_bytes(content)  # /dev/stdout, say, which must not be replaced
        return
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
