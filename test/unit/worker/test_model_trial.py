"""The trial of a delivered model beside the current one: real Keras, real LiteRT, real files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from fl_robot_ros.config import ClientSettings
from fl_robot_ros.delivery.manifest import Candidate
from fl_robot_ros.delivery.model_store import ModelStore
from fl_robot_ros.delivery.predictor import Predictor
from fl_robot_ros.errors import ModelError
from fl_robot_ros.images.preprocessing import Preprocessing
from fl_robot_ros.learning.export import convert, export_model, parity
from fl_robot_ros.learning.lite_model import LiteModel
from fl_robot_ros.learning.training_data import LabelledImages
from fl_robot_ros.publication import Publication
from fl_robot_ros.worker.model_trial import MOST_IMAGES, ModelTrial, TrialResult, evenly

CLASSES = ("dark", "grey", "light")
INPUT = Preprocessing(10, 10, 3, 1 / 255)
BRIGHTNESS = (40, 128, 215)


def images(count: int, seed: int = 0, classes: tuple[int, ...] = (0, 1, 2)) -> LabelledImages:
    """Return images of noise around the brightness of their class."""
    generator = np.random.default_rng(seed)
    labels = np.array([classes[index % len(classes)] for index in range(count)], np.int32)
    middle = np.array(BRIGHTNESS)[labels][:, None, None, None]
    noise = generator.normal(middle, 20, (count, 10, 10, 3))
    return LabelledImages(np.clip(noise, 0, 255).astype(np.uint8), labels)


def classifier(order: tuple[int, ...] = (0, 1, 2), scale: float = 1 / 255) -> keras.Model:
    """Return a model that knows the classes by their brightness, its outputs in some order."""
    model = keras.Sequential(
        [
            keras.Input((10, 10, 3)),
            keras.layers.Flatten(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    # Squared distance to each class's brightness, but for what is the same for all classes.
    centres = np.array(BRIGHTNESS)[list(order)] * scale
    sharpness = 40 / (255 * scale) ** 2
    kernel = np.tile(2 * sharpness * centres / 300, (300, 1))
    model.set_weights([kernel.astype(np.float32), (-sharpness * centres**2).astype(np.float32)])
    return model


def trial_on(
    holdout: LabelledImages,
    *,
    classes: tuple[str, ...] = CLASSES,
    preprocessing: Preprocessing = INPUT,
    **settings: object,
) -> ModelTrial:
    publication = Publication.from_settings(ClientSettings.from_mapping(settings))
    return ModelTrial(classes, preprocessing, images(60, 9), holdout, publication)


@pytest.fixture
def try_model(tmp_path: Path) -> Callable[..., TrialResult]:
    """Return a function that runs a trial in a new folder."""

    def try_model(
        asked: ModelTrial, model: keras.Model, current: Path | None = None
    ) -> TrialResult:
        folder = tmp_path / f"staging{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        return asked.run(model, folder, current)

    return try_model


@pytest.fixture
def current(tmp_path: Path) -> Path:
    """Return the folder of a current version that knows the classes."""

    def build(folder: Path) -> Candidate:
        export_model(classifier(), folder)
        return Candidate(classes=list(CLASSES), preprocessing=INPUT.to_dict())

    return ModelStore(tmp_path / "models").add(build).folder


def test_what_is_measured_is_the_exported_file(
    try_model: Callable[..., TrialResult], current: Path
) -> None:
    holdout = images(90)
    result = try_model(trial_on(holdout), classifier(), current)
    assert result.verdict.accepted
    assert result.verdict.reason == "accuracy 1.000 on its 90 images, 1.000 before"
    metrics = result.metrics
    assert set(metrics) == {
        *("holdout_accuracy", "holdout_accuracy_before", "holdout_images", "holdout_loss"),
        *("latency_ms", "parity"),
    }
    assert (metrics["holdout_accuracy"], metrics["holdout_images"]) == (1.0, 90.0)
    assert 0 < metrics["latency_ms"] < 1000
    assert 0 <= metrics["parity"] < 1e-3
    model = classifier()
    outputs = np.asarray(model(holdout.images * np.float32(1 / 255)))
    loss = keras.losses.sparse_categorical_crossentropy(holdout.labels, outputs)
    assert metrics["holdout_loss"] == pytest.approx(float(np.mean(loss)), abs=1e-4)
    assert result.trial.per_class()["grey"] == {"images": 30, "recall": 1.0, "recall_before": 1.0}


def test_a_worse_model_is_refused_and_a_first_one_needs_skill(
    try_model: Callable[..., TrialResult], current: Path
) -> None:
    swapped = classifier((2, 1, 0))  # takes dark for light
    result = try_model(trial_on(images(30)), swapped, current)
    assert not result.verdict.accepted
    assert result.verdict.reason.startswith("accuracy 0.333 on its 30 images, 1.000 before;")
    assert result.trial.per_class()["dark"] == {"images": 10, "recall": 0, "recall_before": 1}
    assert not try_model(trial_on(images(30)), swapped).verdict.accepted
    first = try_model(trial_on(images(30)), classifier())
    assert first.verdict.accepted
    assert "holdout_accuracy_before" not in first.metrics


def test_a_damaged_or_other_current_model_is_told(
    try_model: Callable[..., TrialResult], current: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # Another scale of the same input is compared all the same.
    unscaled = Preprocessing(10, 10, 3, 1.0)
    result = try_model(
        trial_on(images(30), preprocessing=unscaled), classifier(scale=1.0), current
    )
    assert result.verdict.reason == "accuracy 1.000 on its 30 images, 1.000 before"
    # Classes in another order, and one that the current model does not know.
    result = try_model(
        trial_on(images(30), classes=("light", "grey", "night")), classifier((2, 1, 0)), current
    )
    assert "of the classes that v00001 knows" in result.verdict.reason
    assert "holdout_accuracy_before" not in result.metrics
    other = Preprocessing(10, 9, 3, 1 / 255)
    small = LabelledImages(images(30).images[:, :, :9], images(30).labels)
    asked = ModelTrial(CLASSES, other, small, small, trial_on(small).publication)
    model = keras.Sequential(
        [
            keras.Input((10, 9, 3)),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    result = try_model(asked, model, current)
    assert "; not compared with v00001: its input is 10x10x3, not 9x10x3" in result.verdict.reason
    (current / "model.tflite").write_bytes(b"half")
    result = try_model(trial_on(images(30)), classifier(), current)
    assert result.verdict.accepted
    assert result.verdict.reason.endswith(
        "; not compared with v00001: it cannot be used, as the worker's log says"
    )
    assert "damaged or was exchanged" in caplog.text


def test_a_large_holdout_is_sampled_evenly(try_model: Callable[..., TrialResult]) -> None:
    holdout = images(3 * MOST_IMAGES)
    result = try_model(trial_on(holdout), classifier())
    assert result.metrics["holdout_images"] == MOST_IMAGES
    assert len(result.trial.per_class()) == 3
    assert evenly(5, 3).tolist() == [0, 2, 4]
    assert evenly(2, 3).tolist() == [0, 1]
    assert evenly(0, 3).tolist() == []


def test_parity_is_measured_in_the_models_own_range(
    try_model: Callable[..., TrialResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is wrong for bright pixels alone agrees on inputs from 0 to 1."""
    unscaled = Preprocessing(10, 10, 3, 1.0)
    model = classifier(scale=1.0)
    wrong = keras.Sequential([keras.Input((10, 10, 3)), keras.layers.ReLU(2.0), model])
    lite = LiteModel(convert(wrong))
    inputs = np.random.default_rng(0).random((8, 10, 10, 3), np.float32)
    assert parity(model, lite, inputs) < 1e-3
    assert parity(model, lite, inputs * 255) > 0.1
    monkeypatch.setattr("fl_robot_ros.worker.model_trial.export_model", lambda *_: lite)
    result = try_model(trial_on(images(30), preprocessing=unscaled, publish_if="always"), model)
    assert not result.verdict.accepted
    assert "model.tflite differs from model.keras by" in result.verdict.reason


def convolutional() -> keras.Model:
    keras.utils.set_random_seed(1)
    pooled = [keras.layers.Conv2D(8, 3, activation="relu"), keras.layers.Flatten()]
    return keras.Sequential([keras.Input((10, 10, 3)), *pooled, classifier_head()])


def classifier_head() -> keras.layers.Layer:
    return keras.layers.Dense(3, activation="softmax")


def test_an_int8_file_is_made_on_request_and_measured(
    try_model: Callable[..., TrialResult], tmp_path: Path
) -> None:
    result = try_model(trial_on(images(60), export_int8=True), classifier())
    assert result.metrics["int8_accuracy"] > 0.9
    assert result.metrics["int8_agreement"] > 0.9

    def build(folder: Path) -> Candidate:
        published = trial_on(
            images(60), export_int8=True, published_file="model_int8.tflite", publish_if="always"
        )
        result = published.run(convolutional(), folder, None)
        assert "int8_accuracy" not in result.metrics  # it is the one that was measured
        return Candidate(
            classes=list(CLASSES),
            preprocessing=INPUT.to_dict(),
            metrics=result.metrics,
        )

    version = ModelStore(tmp_path / "models").add(build).folder
    small, large = version / "model_int8.tflite", version / "model.tflite"
    assert small.stat().st_size < large.stat().st_size
    predictors = [Predictor(small), Predictor(large)]
    labels: list[NDArray[np.str_]] = [
        np.array([predictor.predict(image).label for image in images(60).images])
        for predictor in predictors
    ]
    assert (labels[0] == labels[1]).mean() > 0.9


def test_without_the_int8_file_that_nobody_runs_the_model_is_delivered_all_the_same(
    try_model: Callable[..., TrialResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise ModelError("no such operation")

    monkeypatch.setattr("fl_robot_ros.worker.model_trial.export_int8", fails)
    assert try_model(trial_on(images(30), export_int8=True), classifier()).verdict.accepted
    published = trial_on(images(30), export_int8=True, published_file="model_int8.tflite")
    with pytest.raises(ModelError, match="no such operation"):
        try_model(published, classifier())
