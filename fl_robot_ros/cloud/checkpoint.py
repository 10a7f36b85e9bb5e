"""The server's checkpoints: the global model after every round.

checkpoints/round-00007.npz     weights and all that a restart needs
checkpoints/round-00007.keras   the same model for people
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.atomic_file import staging_file
from fl_robot_ros.errors import FlRobotError, ModelError
from fl_robot_ros.images.preprocessing import Preprocessing

_NPZ = re.compile(r"round-(\d{5,})\.npz")


@dataclass(frozen=True)
class UsualLength:
    """How long updates usually are: the medians of a round.

    Attributes:
        norm: Euclidean norm of an update, above 0.
        share_of_reach: Its share of how far training can move the model, above 0.
    """

    norm: float
    share_of_reach: float


@dataclass(frozen=True)
class GlobalModel:
    """The fleet's model after some round.

    Attributes:
        server_round: Rounds so far, since the first run; 0 before the first.
        weights: float32 (number of weights,).
        architecture: Keras architecture as JSON.
        classes: Class names in the order of the outputs.
        preprocessing: The model's input.
        momentum: FedAvgM's momentum, float32 (number of weights,); None before its first round.
        usual_length: Of the updates of the last round; None before the first.
    """

    server_round: int
    weights: NDArray[np.float32]
    architecture: str
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    momentum: NDArray[np.float32] | None = None
    usual_length: UsualLength | None = None


def save_checkpoint(folder: Path, model: GlobalModel) -> Path:
    """Write a checkpoint atomically; return its file.

    Raises:
        ModelError: The file cannot be written.
    """
    path = checkpoint_file(folder, model.server_round)
    description = {
        "server_round": model.server_round,
        "architecture": model.architecture,
        "classes": list(model.classes),
        "preprocessing": model.preprocessing.to_dict(),
        "usual_length": model.usual_length and asdict(model.usual_length),
    }
    arrays: dict[str, Any] = {"weights": model.weights}
    if model.momentum is not None:
        arrays["momentum"] = model.momentum
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with staging_file(path) as file:
            np.savez(file, description=np.array(json.dumps(description)), **arrays)
    except OSError as error:
        raise ModelError(f"checkpoint {path} cannot be written: {error}") from error
    return path


def load_checkpoint(path: Path) -> GlobalModel:
    """Read a checkpoint.

    Raises:
        ModelError: The file is damaged, or not a checkpoint.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            weights = _flat_array(content, "weights")
            momentum = _flat_array(content, "momentum") if "momentum" in content else None
            description = json.loads(str(content["description"]))
        if momentum is not None and momentum.size != weights.size:
            raise ModelError(
                f"its momentum has {momentum.size} numbers for {weights.size} weights"
            )
        usual = description.get("usual_length")  # checkpoints of before have none
        return GlobalModel(
            server_round=int(description["server_round"]),
            weights=weights,
            architecture=str(description["architecture"]),
            classes=tuple(str(name) for name in description["classes"]),
            preprocessing=Preprocessing.from_dict(description["preprocessing"]),
            momentum=momentum,
            usual_length=usual
            and UsualLength(float(usual["norm"]), float(usual["share_of_reach"])),
        )
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError(f"checkpoint {path} cannot be read: {error}") from error
    except FlRobotError as error:
        raise ModelError(f"checkpoint {path} cannot be used: {error}") from error


def checkpoint_file(folder: Path, server_round: int) -> Path:
    """Return the file of a round's checkpoint, which need not be there."""
    return folder / f"round-{server_round:05d}.npz"


def checkpoint_files(folder: Path) -> list[Path]:
    """Return the files of all checkpoints, that of the first round first."""
    found = ((_NPZ.fullmatch(path.name), path) for path in folder.iterdir())
    by_round = {int(match[1]): path for match, path in found if match}
    return [path for _, path in sorted(by_round.items())]


def _flat_array(content: Mapping[str, Any], name: str) -> NDArray[np.float32]:
    array = np.asarray(content[name])
    if array.dtype != np.float32 or array.ndim != 1 or not np.isfinite(array).all():
        raise ModelError(f"its {name} is no flat float32 array of finite numbers")
    return array


def newest_checkpoint(folder: Path) -> tuple[GlobalModel | None, list[str]]:
    """Return the newest readable checkpoint, and the errors of newer ones."""
    complaints: list[str] = []
    if not folder.is_dir():
        return None, complaints
    for path in reversed(checkpoint_files(folder)):
        try:
            return load_checkpoint(path), complaints
        except ModelError as error:
            complaints.append(str(error))
    return None, complaints


class CheckpointWriter:
    """Writes checkpoints, each with a Keras file for people.

    The Keras file is written in a thread while the next round goes on. `with` waits for the last.
    """

    def __init__(self, folder: Path, keep: int = 0) -> None:
        """Take the folder of the checkpoints.

        Args:
            folder: Folder of the checkpoints.
            keep: How many of the newest checkpoints stay; 0: all.
        """
        self._folder = folder
        self._keep = keep
        self._keras_model: Any = None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._keras_file: Future[None] | None = None

    def __enter__(self) -> CheckpointWriter:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Wait for the last Keras file.

        Raises:
            ModelError: The file cannot be written, and there is no other error.
        """
        self._pool.shutdown()
        if kind is None:
            self._finish()

    def save(self, model: GlobalModel, kept_rounds: Collection[int] = ()) -> None:
        """Write a checkpoint, and begin with its Keras file.

        Args:
            model: The model.
            kept_rounds: Rounds whose checkpoints stay however old they are.

        Raises:
            ModelError: The checkpoint, or the Keras file of the last one, cannot be written.
        """
        path = save_checkpoint(self._folder, model)
        self._finish()
        self._keras_file = self._pool.submit(self._write_keras_file, path, model)
        self._prune(kept_rounds)

    def _prune(self, kept_rounds: Collection[int]) -> None:
        """Remove the oldest checkpoints, but for those of some rounds.

        Raises:
            ModelError: The folder cannot be changed.
        """
        old = checkpoint_files(self._folder)[: -self._keep] if self._keep else []
        kept = {checkpoint_file(self._folder, number) for number in kept_rounds}
        for path in old:
            if path in kept:
                continue
            try:
                path.with_suffix(".keras").unlink(missing_ok=True)
                path.unlink(missing_ok=True)
            except OSError as error:
                raise ModelError(f"checkpoint {path} cannot be removed: {error}") from error

    def _finish(self) -> None:
        if self._keras_file is not None:
            self._keras_file.result()

    def _write_keras_file(self, path: Path, model: GlobalModel) -> None:
        from fl_robot_ros.learning.architecture import model_from_architecture
        from fl_robot_ros.learning.weights import set_packed_weights

        if self._keras_model is None:
            self._keras_model = model_from_architecture(model.architecture)
        set_packed_weights(self._keras_model, model.weights)
        try:
            with staging_file(path.with_suffix(".keras")) as file:
                self._keras_model.save(file)
        except OSError as error:
            raise ModelError(f"checkpoint {path} has no Keras file: {error}") from error
