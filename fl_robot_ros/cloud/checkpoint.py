"""The server's checkpoints: the global model after every round.

checkpoints/round-00007.npz     weights with all that is needed to go on
checkpoints/round-00007.keras   the same model for people
"""

from __future__ import annotations

import json
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.atomic_file import staging_file
from fl_robot_ros.errors import FlRobotError, ModelError
from fl_robot_ros.images.preprocessing import Preprocessing

_NPZ = re.compile(r"round-(\d{5,})\.npz")


@dataclass(frozen=True)
class GlobalModel:
    """The fleet's model after some round.

    Attributes:
        server_round: Rounds so far, since the first run; 0 before the first.
        weights: float32 (number of weights,).
        architecture: Keras architecture as JSON.
        classes: Class names in the order of the outputs.
        preprocessing: The model's input.
    """

    server_round: int
    weights: NDArray[np.float32]
    architecture: str
    classes: tuple[str, ...]
    preprocessing: Preprocessing


def save_checkpoint(folder: Path, model: GlobalModel) -> Path:
    """Write a checkpoint; return its file.

    Raises:
        ModelError: The file cannot be written.
    """
    path = folder / f"round-{model.server_round:05d}.npz"
    description = {
        "server_round": model.server_round,
        "architecture": model.architecture,
        "classes": list(model.classes),
        "preprocessing": model.preprocessing.to_dict(),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with staging_file(path) as file:
            np.savez(file, weights=model.weights, description=np.array(json.dumps(description)))
    except OSError as error:
        raise ModelError(f"checkpoint {path} cannot be written: {error}") from error
    return path


def load_checkpoint(path: Path) -> GlobalModel:
    """Read a checkpoint.

    Raises:
        ModelError: The file is damaged or no checkpoint.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            weights = np.asarray(content["weights"])
            description = json.loads(str(content["description"]))
        if weights.dtype != np.float32 or weights.ndim != 1 or not np.isfinite(weights).all():
            raise ModelError("its weights are no finite flat float32 array")
        return GlobalModel(
            server_round=int(description["server_round"]),
            weights=weights,
            architecture=str(description["architecture"]),
            classes=tuple(str(name) for name in description["classes"]),
            preprocessing=Preprocessing.from_dict(description["preprocessing"]),
        )
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError(f"checkpoint {path} cannot be read: {error}") from error
    except FlRobotError as error:
        raise ModelError(f"checkpoint {path} cannot be used: {error}") from error


def newest_checkpoint(folder: Path) -> tuple[GlobalModel | None, list[str]]:
    """Return the newest readable checkpoint, and why newer ones were passed over."""
    complaints: list[str] = []
    if not folder.is_dir():
        return None, complaints
    for path in sorted((p for p in folder.iterdir() if _NPZ.fullmatch(p.name)), reverse=True):
        try:
            return load_checkpoint(path), complaints
        except ModelError as error:
            complaints.append(str(error))
    return None, complaints
