"""A robot's part in a run: its data, its model and its replies to the server.

A participant lives for a whole run, in which images are decoded once; the model is compiled once
for all runs of one process.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Message
from numpy.typing import NDArray

from fl_robot_ros.config import ClientSettings
from fl_robot_ros.data_source import DataSource
from fl_robot_ros.delivery.gate import Verdict
from fl_robot_ros.delivery.manifest import Candidate
from fl_robot_ros.delivery.model_store import ModelStore
from fl_robot_ros.errors import ProtocolError
from fl_robot_ros.federation import protocol
from fl_robot_ros.federation.protocol import RunConfig
from fl_robot_ros.identity.enrolment import Enrolment
from fl_robot_ros.identity.signed_model import state, verify
from fl_robot_ros.learning.learning_data import LearningData, open_learning_data
from fl_robot_ros.learning.memory_budget import MemoryBudget
from fl_robot_ros.learning.trainer import EVALUATION_BATCH_SIZE, EvaluationResult, Trainer
from fl_robot_ros.learning.training_data import LabelledImages, Wait, no_wait
from fl_robot_ros.learning.weights import check_weights, set_packed_weights
from fl_robot_ros.name_list import count_list
from fl_robot_ros.one_line import one_line
from fl_robot_ros.publication import Publication
from fl_robot_ros.worker.come_back import come_back_sec
from fl_robot_ros.worker.guard import memory_mb
from fl_robot_ros.worker.kept_trainer import KeptTrainer
from fl_robot_ros.worker.model_trial import ModelTrial, TrialResult
from fl_robot_ros.worker_link.event import (
    Delivered,
    Dismissed,
    EventWriter,
    Prepared,
    Progress,
)
from fl_robot_ros.worker_link.hindrance import Hindrance, hindrance_between
from fl_robot_ros.worker_link.run_status import RunState

_SETTING_KEYS = (
    *("dataset-source", "partition-id", "num-partitions", "dirichlet-alpha"),
    *("holdout-fraction", "keep-versions", "export-int8", "publish-if", "publish-margin"),
    *("first-model-min-accuracy", "max-latency-ms"),
)

_BUILD_SEC = 120.0

_logger = logging.getLogger(__name__)


def _no_deadline(what: str, seconds: float) -> AbstractContextManager[None]:
    return nullcontext()


@dataclass
class _Prepared:
    """What one architecture, input and list of classes needs, made once."""

    key: tuple[Any, ...]
    trainer: Trainer
    train: LabelledImages
    holdout: LabelledImages


@dataclass
class Participant:
    """One robot in one process.

    Attributes:
        robot: The robot's name.
        data: The learning data.
        models_dir: Folder of the robot's model versions.
        keep_versions: Model versions kept on disk.
        server: host:port, for the manifest.
        events: Tells the node what happens.
        enrolment: The robot's enrolment, with which it takes models of its fleet alone; None: it
            takes any model.
        publication: What is asked of the final model before it becomes the current one.
        snapshot: Name of the dataset snapshot, for the manifest; "" for another source.
        memory_limit_mb: Most memory of this process, in MB; 0: no limit.
        deadline: Watches over work that must end in time.
        wait: Called between the steps of the work; returns when the work may go on.
        hindrances: What kept the robot from learning before.
        kept: The trainer of the run before, if there was one, and that of this run later. Give it
            to participants with the same `wait` alone.
    """

    robot: str
    data: LearningData
    models_dir: Path
    keep_versions: int
    publication: Publication
    server: str = ""
    snapshot: str = ""
    events: EventWriter = field(default_factory=EventWriter)
    enrolment: Enrolment | None = None
    memory_limit_mb: int = 0
    deadline: Callable[[str, float], AbstractContextManager[None]] = _no_deadline
    wait: Wait = no_wait
    hindrances: Sequence[Hindrance] = ()
    kept: KeptTrainer = field(default_factory=KeptTrainer)
    _prepared: _Prepared | None = None
    _introduced_as: int = 0

    @classmethod
    def from_node_config(cls, config: Mapping[str, Any]) -> Participant:
        """Read Flower's node configuration, the argument of `flower-supernode --node-config`.

        Raises:
            ProtocolError: `models-dir`, or both `snapshot` and `dataset-source`, are missing.
            SettingError: A setting is invalid.
            FlRobotError: The data or the enrolment cannot be read.
        """
        data_key = "dataset-source" if config.get("dataset-source") else "snapshot"
        for key in (data_key, "models-dir"):
            if not config.get(key):
                raise ProtocolError(
                    f"the node configuration lacks '{key}'; start the SuperNode with "
                    '--node-config \'snapshot="FILE" models-dir="FOLDER" robot="NAME"\'; '
                    'dataset-source="folder:/path" may replace the snapshot'
                )
        names = {key: key.replace("-", "_") for key in _SETTING_KEYS}
        settings = ClientSettings.from_mapping(
            {name: config[key] for key, name in names.items() if key in config}
        )
        file = str(config.get("enrolment", ""))
        enrolment = Enrolment.load(Path(file)) if file else None
        return cls(
            robot=enrolment.robot if enrolment else str(config.get("robot", "robot")),
            data=open_learning_data(
                DataSource.from_settings(settings), Path(str(config.get("snapshot", "")))
            ),
            models_dir=Path(str(config["models-dir"])),
            keep_versions=settings.keep_versions,
            publication=Publication.from_settings(settings),
            snapshot=Path(str(config.get("snapshot", ""))).stem,
            enrolment=enrolment,
        )

    def train(self, message: Message) -> Message:
        """Train on this robot's data; return the reply with the new weights.

        Raises:
            FlRobotError: The message, the model or the data is invalid.
        """
        request = protocol.unpack_request(message)
        config = request.config
        prepared = self._prepare(config)
        self._report(RunState.TRAINING, request, epochs=config.local_epochs)
        result = prepared.trainer.train(
            request.weights,
            prepared.train,
            epochs=config.local_epochs,
            batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            seed=config.seed + request.server_round,
            calibrated=config.loss == "calibrated",
            absent_classes=config.absent_classes,
            on_epoch=lambda epoch, metrics: self._report(
                RunState.TRAINING,
                request,
                epoch=epoch,
                epochs=config.local_epochs,
                loss=metrics["loss"],
                accuracy=metrics["accuracy"],
            ),
        )
        self._report(RunState.WAITING, request)
        metrics = _metrics(result, prepared.train, config)
        return self._reply(message, metrics, result.weights, config=config)

    def evaluate(self, message: Message) -> Message:
        """Evaluate the global model on this robot's holdout images; return the reply.

        Raises:
            FlRobotError: The message, the model or the data is invalid.
        """
        request = protocol.unpack_request(message)
        config = request.config
        prepared = self._prepare(config)
        self._report(RunState.EVALUATING, request)
        result = prepared.trainer.evaluate(request.weights, prepared.holdout)
        self._report(RunState.WAITING, request, loss=result.loss, accuracy=result.accuracy)
        metrics = _metrics(result, prepared.train, config)
        return self._reply(message, metrics, config=config)

    def deliver(self, message: Message) -> Message:
        """Try the final model on the held-out images and store it; return the reply.

        It becomes the current version unless the gate refuses it, or another one is held. Where
        the run has no model for this robot, nothing changes.

        Raises:
            FlRobotError: The message or the model is invalid, the model is not signed as it should
                be, or it cannot be stored.
        """
        stay_away_sec = come_back_sec(protocol.unpack_come_back(message))
        farewell = protocol.unpack_farewell(message)
        if farewell is not None:
            self.events.write(Dismissed(one_line(farewell, 300), stay_away_sec))
            return self._reply(message, {})
        request = protocol.unpack_request(message)
        config = request.config
        store = ModelStore(self.models_dir, self.keep_versions)
        origin = self._verify(message, request, store)
        prepared = self._prepare(config)
        self._report(RunState.DELIVERING, request)
        set_packed_weights(prepared.trainer.model, request.weights)
        trial = ModelTrial(
            config.classes,
            config.preprocessing,
            prepared.train,
            prepared.holdout,
            self.publication,
            self.wait,
        )
        results: list[TrialResult] = []

        def build(folder: Path) -> Candidate:
            result = trial.run(prepared.trainer.model, folder, store.current())
            results.append(result)
            return Candidate(
                classes=list(config.classes),
                preprocessing=config.preprocessing.to_dict(),
                metrics=result.metrics,
                per_class=result.trial.per_class(),
                accepted=result.verdict.accepted,
                reason=result.verdict.reason,
                run=config.run,
                round=request.server_round,
                server=self.server,
                robot=self.robot,
                snapshot=self.snapshot,
                **origin,
            )

        stored = store.add(build)
        [result] = results
        accuracy = result.metrics["holdout_accuracy"]
        _logger.info("%s: %s", stored.folder.name, stored.note or result.verdict.reason)
        self.events.write(
            Delivered(
                stored.folder.name,
                accuracy,
                stored.is_current,
                one_line(stored.note),
                stay_away_sec,
            )
        )
        texts = {protocol.DELIVERED_VERSION: stored.folder.name}
        if not result.verdict.accepted:
            texts[protocol.REFUSED_VERSION] = stored.folder.name
        if not stored.is_current:
            texts |= _refusal(result.verdict, store)
        metrics: protocol.Metrics = {
            protocol.NUM_EXAMPLES: len(result.trial.labels),
            protocol.LOSS: result.loss,
            protocol.ACCURACY: accuracy,
            protocol.SECONDS: result.seconds,
            protocol.CLASS_COUNTS: prepared.train.class_counts(len(config.classes)),
        }
        return self._reply(message, metrics, texts=texts, config=config)

    def _verify(
        self, message: Message, request: protocol.Request, store: ModelStore
    ) -> dict[str, Any]:
        """Check the signature of the final model; return what the manifest keeps of it.

        Raises:
            IdentityError: The model is not signed by this robot's fleet, or is an old one.
            ProtocolError: The signature is no text.
        """
        if self.enrolment is None:
            return {}
        config = request.config
        received = state(
            run=config.run,
            server_round=request.server_round,
            counter=0,
            signed_at=0,
            architecture=config.architecture,
            classes=config.classes,
            preprocessing=config.preprocessing,
            weights=check_weights(request.weights, request.weights.size),
        )
        signature, counter = verify(
            protocol.unpack_signature(message),
            base64.b64decode(self.enrolment.fleet_key),
            received,
            store.newest_counter(self.enrolment.fleet_key_id),
        )
        return {"counter": counter, **asdict(signature)}

    def _reply(
        self,
        message: Message,
        metrics: protocol.Metrics,
        weights: NDArray[np.float32] | None = None,
        texts: dict[str, str] | None = None,
        config: RunConfig | None = None,
    ) -> Message:
        """Return a reply; the first one of each registration introduces the robot."""
        node_id = message.metadata.dst_node_id
        introduction = {} if node_id == self._introduced_as else self._introduction(config)
        self._introduced_as = node_id
        return protocol.reply(message, metrics, weights, {**introduction, **(texts or {})})

    def _introduction(self, config: RunConfig | None) -> dict[str, str]:
        """Return the robot's name, and what kept it from learning during the run before."""
        texts = {protocol.ROBOT: self.robot}
        if config is not None and config.run_before:
            hindrance = hindrance_between(self.hindrances, *config.run_before)
            if hindrance is not None:
                texts[protocol.HINDRANCE] = str(hindrance)
        return texts

    def _prepare(self, config: RunConfig) -> _Prepared:
        """Return trainer and data for a configuration; those of the last call if it is equal."""
        key = (config.architecture, config.classes, config.preprocessing, config.batch_size)
        if self._prepared is None or self._prepared.key != key:
            self._prepared = None
            trainer = self.kept.get(key, lambda: self._build(config))
            train, holdout = self.data.load(config.classes, config.preprocessing, self.wait)
            unmapped = train.unmapped + holdout.unmapped
            unreadable = train.unreadable + holdout.unreadable
            self._prepared = _Prepared(key, trainer, train, holdout)
            self.events.write(Prepared(len(train), len(holdout), dict(unmapped), unreadable))
            if unmapped or unreadable:
                _logger.warning(
                    "left out: %d unreadable images; labels that are no class of this run: %s",
                    unreadable,
                    count_list(unmapped) or "none",
                )
        return self._prepared

    def _build(self, config: RunConfig) -> Trainer:
        """Build the server's model.

        Raises:
            ModelError: It is invalid, or needs too much memory.
        """
        budget = self.memory_limit_mb and MemoryBudget(
            self.memory_limit_mb - memory_mb(), config.batch_size, EVALUATION_BATCH_SIZE
        )
        with self.deadline("to build the server's model", _BUILD_SEC):
            return Trainer(
                config.architecture,
                config.preprocessing,
                config.classes,
                budget or None,
                self.wait,
            )

    def _report(self, state: RunState, request: protocol.Request, **values: Any) -> None:
        config = request.config
        self.events.write(
            Progress(state, config.run, request.server_round, config.last_round, **values)
        )


def _refusal(verdict: Verdict, store: ModelStore) -> dict[str, str]:
    """Return what a robot tells the server that does not use the model."""
    current, hold = store.current(), store.hold()
    reason = verdict.reason
    if verdict.accepted and hold is not None:
        # What a person wrote beside it stays on the robot.
        reason = f"{replace(hold, reason='')}; {reason}"
    return {
        protocol.KEPT_VERSION: current.name if current else "",
        protocol.VERDICT: one_line(reason, 300),
    }


def _metrics(
    result: EvaluationResult, train: LabelledImages, config: RunConfig
) -> protocol.Metrics:
    return {
        protocol.NUM_EXAMPLES: result.num_examples,
        protocol.LOSS: result.loss,
        protocol.ACCURACY: result.accuracy,
        protocol.SECONDS: result.seconds,
        protocol.CLASS_COUNTS: train.class_counts(len(config.classes)),
    }
