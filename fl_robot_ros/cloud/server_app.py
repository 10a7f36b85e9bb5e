"""The package's Flower ServerApp: one run of the fleet, from checkpoint to delivery."""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from fl_robot_ros.atomic_file import staging_file
from fl_robot_ros.cloud.checkpoint import GlobalModel, newest_checkpoint, save_checkpoint
from fl_robot_ros.cloud.history import FAILED, FINISHED, History, RunRecord
from fl_robot_ros.cloud.readiness import check_same_task, input_of
from fl_robot_ros.cloud.rounds import Fleet
from fl_robot_ros.config import ServerSettings
from fl_robot_ros.errors import FlRobotError, ModelError, RunFailedError
from fl_robot_ros.federation import protocol
from fl_robot_ros.federation.object_pulls import pull_sooner

CHECKPOINTS = "checkpoints"
SETTINGS_FILE = "settings.yaml"

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Do the run that `fl_server` noted in the history."""
    state_dir = Path(str(context.run_config["state-dir"]))
    run = int(str(context.run_config["run"]))
    with History(state_dir) as history:
        record = history.run(run)
        if record is None:
            raise RunFailedError(f"run {run} is not in the history of {state_dir}")
        history.set_process(run, os.getpid())
        try:
            _run(grid, state_dir, history, record)
        except FlRobotError as error:
            history.end_run(run, FAILED, str(error))
            raise
        except Exception as error:
            history.end_run(run, FAILED, f"{type(error).__name__}: {error}")
            raise
        history.end_run(run, FINISHED)


def _run(grid: Grid, state_dir: Path, history: History, record: RunRecord) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    pull_sooner()
    settings = ServerSettings.from_mapping(
        yaml.safe_load((state_dir / SETTINGS_FILE).read_text(encoding="utf-8"))
    )
    writer = CheckpointWriter(state_dir / CHECKPOINTS)
    model, complaints = newest_checkpoint(state_dir / CHECKPOINTS)
    for complaint in complaints:
        history.add_event(complaint)
    if model is None:
        model = initial_model(settings)
        writer.save(model)
        history.add_event(f"new global model with {model.weights.size} weights")
    else:
        check_same_task(model, settings)
        history.add_event(f"going on from round {model.server_round}")
    Fleet(
        grid=grid,
        settings=settings,
        history=history,
        strategy=FedAvg(
            min_train_nodes=1,
            min_evaluate_nodes=1,
            min_available_nodes=1,
            weighted_by_key=protocol.NUM_EXAMPLES,
        ),
        record=record,
        save=writer.save,
    ).run(model)
    writer.close()


def initial_model(settings: ServerSettings) -> GlobalModel:
    """Build the first global model: the operator's own, or the reference CNN.

    Raises:
        ModelError: The operator's model cannot be used for these classes and this input.
    """
    from fl_robot_ros.learning.architecture import (
        architecture_of,
        build_reference_cnn,
        load_initial_model,
    )
    from fl_robot_ros.learning.trainer import Trainer
    from fl_robot_ros.learning.weights import pack_weights

    preprocessing = input_of(settings)
    if settings.initial_model:
        model = load_initial_model(settings.initial_model)
    else:
        model = build_reference_cnn(
            *preprocessing.input_shape, num_classes=len(settings.classes), seed=settings.seed
        )
    architecture = architecture_of(model)
    Trainer(architecture, preprocessing, settings.classes)  # raises what robots would raise
    return GlobalModel(
        server_round=0,
        weights=pack_weights(model.get_weights()),
        architecture=architecture,
        classes=settings.classes,
        preprocessing=preprocessing,
    )


class CheckpointWriter:
    """Writes checkpoints, each with the same model as a Keras file beside it.

    The Keras file is for people; it is written in a thread while the next round goes on.
    """

    def __init__(self, folder: Path) -> None:
        """Take the folder of the checkpoints."""
        self._folder = folder
        self._keras_model: Any = None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._keras_file: Future[None] | None = None

    def save(self, model: GlobalModel) -> None:
        """Write one checkpoint, and begin to write its Keras file.

        Raises:
            ModelError: The checkpoint, or the Keras file before it, cannot be written.
        """
        path = save_checkpoint(self._folder, model)
        self._finish()
        self._keras_file = self._pool.submit(self._write_keras_file, path, model)

    def close(self) -> None:
        """Wait for the last Keras file.

        Raises:
            ModelError: It cannot be written.
        """
        self._finish()
        self._pool.shutdown()

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
