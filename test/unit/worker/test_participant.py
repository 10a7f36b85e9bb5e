"""A participant that a stock SuperNode starts: its node configuration."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flower_identity import take_identity
from flwr.app import Message
from numpy.typing import NDArray

from fl_robot_ros.cloud.checkpoint import GlobalModel
from fl_robot_ros.cloud.model_signer import ModelSigner
from fl_robot_ros.cloud.update_check import check_reply
from fl_robot_ros.config import ClientSettings
from fl_robot_ros.data_source import DataSource, SourceKind
from fl_robot_ros.delivery.manifest import Manifest
from fl_robot_ros.delivery.model_store import ModelStore
from fl_robot_ros.errors import IdentityError, ModelError, ProtocolError, SettingError
from fl_robot_ros.federation import protocol
from fl_robot_ros.federation.protocol import RunConfig, pack_farewell, pack_request
from fl_robot_ros.identity.key_folder import KeyFolder
from fl_robot_ros.identity.signed_model import Signature
from fl_robot_ros.images.preprocessing import Preprocessing
from fl_robot_ros.learning.architecture import architecture_of
from fl_robot_ros.learning.initial_model import build_reference_cnn, initial_model
from fl_robot_ros.learning.learning_data import open_learning_data
from fl_robot_ros.learning.weights import pack_weights
from fl_robot_ros.publication import Publication
from fl_robot_ros.worker.kept_trainer import KeptTrainer
from fl_robot_ros.worker.participant import Participant
from fl_robot_ros.worker_link.event import Delivered, Dismissed, Event, EventWriter, read_event
from fl_robot_ros.worker_link.hindrance import Hindrance

take_identity()


def run_config(architecture: str, **changes: Any) -> RunConfig:
    """Return the parameters of a run; `changes` replace them."""
    values: dict[str, Any] = {
        "run": 1,
        "last_round": 1,
        "classes": ("dark", "light"),
        "preprocessing": Preprocessing(10, 10, 3, 1.0),
        "local_epochs": 1,
        "batch_size": 4,
        "learning_rate": 0.001,
        "loss": "plain",
        "absent_classes": (),
        "seed": 0,
    }
    return RunConfig(architecture=architecture, **{**values, **changes})


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
            "publish-if": "always",  # its images say nothing
        }
    )
    assert participant.robot == "r1"
    preprocessing = Preprocessing(10, 10, 3, 1.0)
    architecture, weights = initial_model("", preprocessing, ("dark", "light"), 0)
    model = GlobalModel(4, weights, architecture, ("dark", "light"), preprocessing)
    signer = ModelSigner(keys.model_key(), tmp_path)
    first, second = (signer.sign(3, model) for _ in range(2))

    def deliver(signature: Signature | None, sent: GlobalModel = model) -> Message:
        config = run_config(
            sent.architecture,
            run=3,
            last_round=4,
            classes=sent.classes,
            preprocessing=sent.preprocessing,
            batch_size=1,
            learning_rate=0.1,
            loss="calibrated",
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
        publication=Publication.from_settings(ClientSettings()),
        memory_limit_mb=3000,
        deadline=deadline,
    )
    model = build_reference_cnn(32, 32, 3, 2)
    small = run_config(architecture_of(model), preprocessing=Preprocessing(32, 32, 3, 1.0))

    def train(config: RunConfig) -> Message:
        content = pack_request(config, pack_weights(model.get_weights()))
        message = Message(content, dst_node_id=1, message_type="train", group_id="1")
        message.metadata.__dict__["_message_id"] = "request"
        return participant.train(message)

    with pytest.raises(ModelError, match=r"would need about .* worker_memory_limit_mb leaves"):
        train(replace(small, batch_size=65_536))
    assert train(small).has_content()
    assert watched == ["to build the server's model"] * 2


def test_a_robot_that_keeps_its_trainer_learns_what_a_new_one_learns(tmp_path: Path) -> None:
    make_images(tmp_path)
    layers = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dropout(0.5)]
    head = keras.layers.Dense(2, activation="softmax")
    model = keras.Sequential([keras.Input((10, 10, 3)), *layers, head])
    config = run_config(
        architecture_of(model),
        local_epochs=2,
        batch_size=2,
        learning_rate=0.01,
        loss="calibrated",
        seed=5,
    )
    content = pack_request(config, pack_weights(model.get_weights()))

    def learn(kept: KeptTrainer) -> NDArray[np.float32]:
        participant = Participant(
            robot="r1",
            data=open_learning_data(
                DataSource(SourceKind.FOLDER, str(tmp_path), 0, 1, 0.0, 0.5), None
            ),
            models_dir=tmp_path / "models",
            keep_versions=2,
            publication=Publication.from_settings(ClientSettings()),
            kept=kept,
        )
        message = Message(content, dst_node_id=1, message_type="train", group_id="1")
        message.metadata.__dict__["_message_id"] = "request"
        return protocol.unpack_weights(participant.train(message))

    kept = KeptTrainer()
    cold, warm = learn(kept), learn(kept)
    np.testing.assert_array_equal(warm, cold)
    assert kept.get("another model", lambda: "new") == "new"  # type: ignore[arg-type,return-value]


def test_a_worse_model_is_kept_apart_and_node_and_server_hear_why(tmp_path: Path) -> None:
    for label, value in (("dark", 40), ("light", 215)):
        (tmp_path / "images" / label).mkdir(parents=True)
        for number in range(10):
            image = np.full((10, 10, 3), value + number, np.uint8)
            cv2.imwrite(str(tmp_path / "images" / label / f"{number}.png"), image)
    stream = io.StringIO()
    participant = Participant(
        robot="r1",
        data=open_learning_data(
            DataSource(SourceKind.FOLDER, str(tmp_path / "images"), 0, 1, 0.0, 0.5), None
        ),
        models_dir=tmp_path / "models",
        keep_versions=2,
        publication=Publication.from_settings(ClientSettings()),
        snapshot="20261126T190000Z",
        events=EventWriter(stream),
        hindrances=(Hindrance("battery 0.31", 1e9, 1e9 + 60.0), Hindrance("older", 9e8, 9.9e8)),
    )
    layers = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2, activation="softmax")]
    model = keras.Sequential([keras.Input((10, 10, 3)), *layers])
    good = np.array([-9, 9, -9, 9, -9, 9, 13.5, -13.5], np.float32)  # light from 0.5 on

    def deliver(weights: NDArray[np.float32]) -> tuple[Message, Event | None]:
        config = run_config(
            architecture_of(model),
            run=2,
            last_round=4,
            preprocessing=Preprocessing(10, 10, 3, 1 / 255),
            run_before=(1e9, 1.1e9),
        )
        message = Message(
            pack_request(config, weights), dst_node_id=1, message_type="query", group_id="3"
        )
        message.metadata.__dict__["_message_id"] = "request"
        reply = participant.deliver(message)
        return reply, read_event(stream.getvalue().splitlines()[-1])

    store = ModelStore(tmp_path / "models")
    reply, event = deliver(-good)  # the first model ever, and worse than a guess
    assert store.current() is None
    assert isinstance(event, Delivered)
    assert (event.version, event.accuracy, event.is_current) == ("v00001", 0.0, False)
    assert check_reply(1, reply, None, 100).note.startswith("uses no model: accuracy 0.000")
    # Said once, like the robot's name.
    assert check_reply(1, reply, None, 100).hindrance.startswith("battery 0.31 (")

    reply, event = deliver(good)
    assert event == Delivered("v00002", 1.0)
    assert check_reply(1, reply, None, 100).note == ""
    assert check_reply(1, reply, None, 100).hindrance == ""

    reply, event = deliver(-good)
    current = store.current()
    assert current is not None
    assert current.name == "v00002"
    manifest = Manifest.load(tmp_path / "models" / "v00003")
    reason = "accuracy 0.000 on its 10 images, 1.000 before; publish_margin is 0.05"
    assert (manifest.accepted, manifest.reason) == (False, reason)
    assert (manifest.round, manifest.snapshot) == (3, "20261126T190000Z")
    assert manifest.per_class["dark"] == {"images": 5, "recall": 0.0, "recall_before": 1.0}
    assert manifest.metrics["holdout_accuracy_before"] == 1.0
    assert isinstance(event, Delivered)
    assert event.note == f"v00003 is stored and not used: {reason}; v00002 stays"
    checked = check_reply(1, reply, None, 100)
    assert (checked.accepted, checked.accuracy, checked.num_examples) == (True, 0.0, 10)
    assert checked.note == f"keeps v00002: {reason}"
    assert checked.refuses_model

    store.pin("v00002", "the lift is being repaired")
    reply, event = deliver(good)
    assert check_reply(1, reply, None, 100).note == (
        "keeps v00002: v00002 is pinned; accuracy 1.000 on its 10 images, 1.000 before"
    )
    assert not check_reply(1, reply, None, 100).refuses_model

    message = Message(
        pack_farewell("the release is\nhalted", 60.0), dst_node_id=1, message_type="query"
    )
    message.metadata.__dict__["_message_id"] = "request"
    versions = sorted(path.name for path in (tmp_path / "models").iterdir())
    assert not participant.deliver(message).has_error()
    event = read_event(stream.getvalue().splitlines()[-1])
    assert isinstance(event, Dismissed)
    assert event.reason == "the release is halted"
    assert 60.0 <= event.come_back_sec <= 65.0
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == versions
