"""A participant that a stock SuperNode starts: its node configuration."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flower_identity import take_identity
from flwr.app import Message

from fl_robot_ros.cloud.checkpoint import GlobalModel
from fl_robot_ros.cloud.model_signer import ModelSigner
from fl_robot_ros.data_source import DataSource, SourceKind
from fl_robot_ros.delivery.manifest import Manifest
from fl_robot_ros.delivery.model_store import ModelStore
from fl_robot_ros.errors import IdentityError, ModelError, ProtocolError, SettingError
from fl_robot_ros.federation import protocol
from fl_robot_ros.federation.protocol import RunConfig, pack_request
from fl_robot_ros.identity.key_folder import KeyFolder
from fl_robot_ros.identity.signed_model import Signature
from fl_robot_ros.images.preprocessing import Preprocessing
from fl_robot_ros.learning.architecture import architecture_of
from fl_robot_ros.learning.initial_model import build_reference_cnn, initial_model
from fl_robot_ros.learning.learning_data import open_learning_data
from fl_robot_ros.learning.weights import pack_weights
from fl_robot_ros.worker.participant import Participant

take_identity()


def make_images(folder: Path) -> None:
    for label in ("dark", "light"):
        (folder / label).mkdir(parents=True)
        for number in range(4):
            image = np.full((9, 9, 3), number, np.uint8)
            cv2.imwrite(str(folder / label / f"{number}.png"), image)


def test_a_node_configuration_names_a_data_source(tmp_path: Path) -> None:
    make_images(tmp_path)
    participant = Participant.from_node_config(
        {
            "dataset-source": f"folder:{tmp_path}",
            "holdout-fraction": 0.5,
            "models-dir": str(tmp_path / "models"),
            "robot": "stock",
        }
    )
    train, holdout = participant.data.load(("dark", "light"), Preprocessing(8, 8, 3, 1.0))
    assert (train.class_counts(2), holdout.class_counts(2)) == ([2, 2], [2, 2])


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        ({}, ProtocolError, "lacks 'snapshot'"),
        ({"snapshot": "x"}, ProtocolError, "lacks 'models-dir'"),
        (
            {"dataset-source": "zip:x", "models-dir": "x"},
            SettingError,
            "dataset_source is 'zip:x'",
        ),
        (
            {"dataset-source": "hub:a/b", "partition-id": 5, "models-dir": "x"},
            SettingError,
            "partition_id is 5; expected 0 to 0",
        ),
        (
            {"dataset-source": "hub:a/b", "num-partitions": "2", "models-dir": "x"},
            SettingError,
            "num_partitions is '2'; expected a whole number",
        ),
    ],
)
def test_an_unfit_node_configuration_is_told(
    config: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Participant.from_node_config(config)


def test_an_enrolled_robot_takes_signed_models_of_its_fleet_alone_and_none_twice(
    tmp_path: Path,
) -> None:
    keys = KeyFolder.create(tmp_path / "keys", ["127.0.0.1"])
    folder = tmp_path / "images"
    make_images(folder)
    keys.enrol("r1", tmp_path / "r1.json", "")
    participant = Participant.from_node_config(
        {
            "dataset-source": f"folder:{folder}",
            "holdout-fraction": 0.5,
            "models-dir": str(tmp_path / "models"),
            "enrolment": str(tmp_path / "r1.json"),
        }
    )
    assert participant.robot == "r1"
    preprocessing = Preprocessing(10, 10, 3, 1.0)
    architecture, weights = initial_model("", preprocessing, ("dark", "light"), 0)
    model = GlobalModel(4, weights, architecture, ("dark", "light"), preprocessing)
    signer = ModelSigner(keys.model_key(), tmp_path)
    first, second = (signer.sign(3, model) for _ in range(2))

    def deliver(signature: Signature | None, sent: GlobalModel = model) -> Message:
        config = RunConfig(
            run=3,
            last_round=4,
            architecture=sent.architecture,
            classes=sent.classes,
            preprocessing=sent.preprocessing,
            local_epochs=1,
            batch_size=1,
            learning_rate=0.1,
            loss="calibrated",
            absent_classes=(),
            seed=0,
        )
        content = protocol.pack_request(config, sent.weights, signature)
        message = Message(content, dst_node_id=1, message_type="query", group_id="4")
        message.metadata.__dict__["_message_id"] = "request"
        return participant.deliver(message)

    stranger = Ed25519PrivateKey.generate()
    for signature, words in (
        (None, "the model is not signed"),
        (ModelSigner(stranger, tmp_path).sign(3, model), "keys_dir is another fleet's"),
    ):
        with pytest.raises(IdentityError, match=words):
            deliver(signature)
    changed = replace(model, weights=weights + np.float32(1))
    with pytest.raises(IdentityError, match="weights_sha256 is not what was signed"):
        deliver(first, changed)
    assert not (tmp_path / "models").exists()

    deliver(second)
    version = ModelStore(tmp_path / "models", 5).current()
    assert version is not None
    manifest = Manifest.load(version)
    assert Signature(manifest.statement, manifest.signature, manifest.key_id) == second
    for signature in (second, first):
        with pytest.raises(IdentityError, match="the model is an old one"):
            deliver(signature)
    assert len(ModelStore(tmp_path / "models", 5).versions()) == 1


def test_a_robot_refuses_what_needs_more_memory_than_it_may_take(tmp_path: Path) -> None:
    make_images(tmp_path)
    watched: list[str] = []

    @contextmanager
    def deadline(what: str, seconds: float) -> Iterator[None]:
        watched.append(what)
        yield

    participant = Participant(
        robot="r1",
        data=open_learning_data(
            DataSource(SourceKind.FOLDER, str(tmp_path), 0, 1, 0.0, 0.5), None
        ),
        models_dir=tmp_path / "models",
        keep_versions=2,
        memory_limit_mb=3000,
        deadline=deadline,
    )
    model = build_reference_cnn(32, 32, 3, 2)
    small = RunConfig(
        run=1,
        last_round=1,
        architecture=architecture_of(model),
        classes=("dark", "light"),
        preprocessing=Preprocessing(32, 32, 3, 1.0),
        local_epochs=1,
        batch_size=4,
        learning_rate=0.001,
        loss="plain",
        absent_classes=(),
        seed=0,
    )

    def train(config: RunConfig) -> Message:
        content = pack_request(config, pack_weights(model.get_weights()))
        message = Message(content, dst_node_id=1, message_type="train", group_id="1")
        message.metadata.__dict__["_message_id"] = "request"
        return participant.train(message)

    with pytest.raises(ModelError, match=r"would need about .* worker_memory_limit_mb leaves"):
        train(replace(small, batch_size=65_536))
    assert train(small).has_content()
    assert watched == ["to build the server's model"] * 2
