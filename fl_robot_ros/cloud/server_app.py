"""The package's Flower ServerApp: one run of the fleet, from checkpoint to delivery."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import yaml
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fl_robot_ros.cloud.aggregation import Aggregation
from fl_robot_ros.cloud.checkpoint import (
    CheckpointWriter,
    GlobalModel,
    checkpoint_file,
    load_checkpoint,
    newest_checkpoint,
)
from fl_robot_ros.cloud.history import History, RunRecord, RunStage
from fl_robot_ros.cloud.model_signer import ModelSigner
from fl_robot_ros.cloud.readiness import check_same_task, input_of, open_keys
from fl_robot_ros.cloud.reply_reader import ReplyReader
from fl_robot_ros.cloud.run import Run
from fl_robot_ros.config import ServerSettings
from fl_robot_ros.errors import FlRobotError, RunFailedError
from fl_robot_ros.federation.object_pulls import pull_sooner
from fl_robot_ros.identity.robot_list import RobotNames

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
            history.end_run(run, RunStage.FAILED, str(error))
            raise
        except Exception as error:
            history.end_run(run, RunStage.FAILED, f"{type(error).__name__}: {error}")
            raise
        history.end_run(run, RunStage.FINISHED)


def _run(grid: Grid, state_dir: Path, history: History, record: RunRecord) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from fl_robot_ros.learning.architecture import trainable_weights

    pull_sooner()
    settings = ServerSettings.from_mapping(
        yaml.safe_load((state_dir / SETTINGS_FILE).read_text(encoding="utf-8"))
    )
    with CheckpointWriter(state_dir / CHECKPOINTS, settings.keep_checkpoints) as writer:
        model, complaints = newest_checkpoint(state_dir / CHECKPOINTS)
        for complaint in complaints:
            history.add_event(complaint)
        if model is None:
            model = _first_model(settings)
            writer.save(model)
            history.add_event(f"new global model with {model.weights.size} weights")
        else:
            check_same_task(model, settings)
            history.add_event(f"going on from round {model.server_round}")
        history.set_model_bytes(record.run, model.weights.nbytes)
        keys = open_keys(settings)
        with closing(ReplyReader(grid)) as reader:
            run = Run(
                grid=grid,
                reader=reader,
                settings=settings,
                history=history,
                record=record,
                aggregation=Aggregation(settings, trainable_weights(model.architecture)),
                save=writer.save,
                load=lambda number: load_checkpoint(
                    checkpoint_file(state_dir / CHECKPOINTS, number)
                ),
                sign=ModelSigner(keys.model_key(), state_dir).sign if keys else None,
                enrolled_name=RobotNames(keys.robots_file) if keys else None,
            )
            run.run(model)


def _first_model(settings: ServerSettings) -> GlobalModel:
    """Return the global model of round 0.

    Raises:
        ModelError: The operator's model does not match these classes or this input.
    """
    from fl_robot_ros.learning.initial_model import initial_model

    classes, preprocessing = settings.classes, input_of(settings)
    architecture, weights = initial_model(
        settings.initial_model, preprocessing, classes, settings.seed
    )
    return GlobalModel(0, weights, architecture, classes, preprocessing)
