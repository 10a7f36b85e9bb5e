"""Training and evaluation: reproducible, warm, interruptible, finite."""

from __future__ import annotations

import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from waiting import wait_until

from fl_robot_ros.delivery.manifest import Candidate
from fl_robot_ros.delivery.model_store import ModelStore
from fl_robot_ros.delivery.predictor import Predictor
from fl_robot_ros.errors import ModelError, RunFailedError, SnapshotError
from fl_robot_ros.images.preprocessing import Preprocessing
from fl_robot_ros.learning.architecture import architecture_of
from fl_robot_ros.learning.calibrated_loss import CalibratedCrossEntropy
from fl_robot_ros.learning.export import export_model
from fl_robot_ros.learning.initial_model import build_reference_cnn
from fl_robot_ros.learning.trainer import Trainer
from fl_robot_ros.learning.training_data import LabelledImages, load_images, map_label
from fl_robot_ros.learning.weights import check_weights, pack_weights, set_packed_weights

CLASSES = ("dark", "light")
INPUT = Preprocessing(height=12, width=12, channels=3, scale=1 / 255)


@pytest.fixture(scope="module")
def trainer() -> Trainer:
    return Trainer(architecture_of(build_reference_cnn(12, 12, 3, 2)), INPUT, CLASSES)


@pytest.fixture(scope="module")
def start() -> NDArray[np.float32]:
    return pack_weights(build_reference_cnn(12, 12, 3, 2, seed=3).get_weights())


@pytest.fixture(scope="module")
def data() -> LabelledImages:
    """Dark and light images, easily told apart."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 96).astype(np.int32)
    noise = generator.integers(0, 100, (96, 12, 12, 3))
    images = (noise + 150 * labels[:, None, None, None]).astype(np.uint8)
    return LabelledImages(images, labels)


def train(trainer: Trainer, weights: NDArray[np.float32], data: LabelledImages, **changes: object):  # type: ignore[no-untyped-def]
    options = {"epochs": 2, "batch_size": 16, "learning_rate": 0.003, "seed": 1, **changes}
    return trainer.train(weights, data, **options)  # type: ignore[arg-type]


def test_training_learns(
    trainer: Trainer, start: NDArray[np.float32], data: LabelledImages
) -> None:
    before = trainer.evaluate(start, data)
    result = train(trainer, start, data, epochs=6)
    after = trainer.evaluate(result.weights, data)
    assert after.accuracy > 0.95
    assert after.loss < before.loss
    assert result.num_examples == after.num_examples == 96


def test_a_warm_trainer_gives_what_a_new_one_gives(
    trainer: Trainer, start: NDArray[np.float32], data: LabelledImages
) -> None:
    train(trainer, start, data, seed=9)
    warm = train(trainer, start, data)
    fresh = Trainer(architecture_of(build_reference_cnn(12, 12, 3, 2)), INPUT, CLASSES)
    cold = train(fresh, start, data)
    # Threads may add up in another order; anything else would differ by far.
    np.testing.assert_allclose(warm.weights, cold.weights, atol=1e-5)
    other = train(trainer, start, data, seed=2)
    assert float(np.abs(other.weights - warm.weights).max()) > 1e-3


def test_work_that_waits_between_batches_gives_the_same_to_the_last_bit(
    start: NDArray[np.float32], data: LabelledImages
) -> None:
    waits: list[int] = []
    may_go_on = threading.Semaphore(0)

    def wait() -> None:
        waits.append(1)
        may_go_on.acquire()

    architecture = architecture_of(build_reference_cnn(12, 12, 3, 2))
    pausing = Trainer(architecture, INPUT, CLASSES, wait=wait)
    steps = 2 * 96 // 16
    with ThreadPoolExecutor(1) as pool:
        training = pool.submit(train, pausing, start, data)
        for step in range(steps):
            wait_until(lambda: len(waits) > step, f"batch {step + 1}")  # noqa: B023
            assert len(waits) == step + 1
            assert not training.done()
            may_go_on.release()
        paused = training.result()
    may_go_on.release()
    evaluated = pausing.evaluate(paused.weights, data)
    assert len(waits) == steps + 1

    plain = Trainer(architecture, INPUT, CLASSES)
    straight = train(plain, start, data)
    np.testing.assert_array_equal(paused.weights, straight.weights)
    assert evaluated.loss == plain.evaluate(straight.weights, data).loss


def test_what_a_wait_raises_ends_the_work_and_the_model_can_be_used_again(
    start: NDArray[np.float32], data: LabelledImages
) -> None:
    patience = [4]

    def wait() -> None:
        patience[0] -= 1
        if not patience[0]:
            raise RunFailedError("left: battery 0.31")

    trainer = Trainer(
        architecture_of(build_reference_cnn(12, 12, 3, 2)), INPUT, CLASSES, wait=wait
    )
    with pytest.raises(RunFailedError, match=r"left: battery 0\.31"):
        train(trainer, start, data)
    assert train(trainer, start, data).num_examples == 96


def test_epochs_are_reported(
    trainer: Trainer, start: NDArray[np.float32], data: LabelledImages
) -> None:
    epochs: list[int] = []
    train(trainer, start, data, epochs=3, on_epoch=lambda epoch, _: epochs.append(epoch))
    assert epochs == [1, 2, 3]


def test_a_calibrated_robot_leaves_classes_to_others_unless_nobody_sees_them() -> None:
    """With plain cross-entropy the first thing that it learns is that they do not occur."""
    classes = ("a", "b", "c", "d")
    model = build_reference_cnn(12, 12, 3, 4, seed=3)
    trainer = Trainer(architecture_of(model), INPUT, classes)
    start = pack_weights(model.get_weights())
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 96).astype(np.int32)  # a and b alone
    images = generator.integers(0, 100, (96, 12, 12, 3)) + 150 * labels[:, None, None, None]
    seen = LabelledImages(images.astype(np.uint8), labels)
    others = LabelledImages(seen.images, labels + 2)

    def trained(**options: object) -> tuple[float, float]:
        """Return the accuracy on what it sees, and the loss were it of the other classes."""
        weights = train(trainer, start, seen, epochs=6, **options).weights
        return trainer.evaluate(weights, seen).accuracy, trainer.evaluate(weights, others).loss

    plain_accuracy, plain = trained()
    _, calibrated = trained(calibrated=True)
    accuracy, nobodys = trained(calibrated=True, absent_classes=(2, 3))
    assert plain > calibrated + 3.0
    assert nobodys > calibrated + 3.0
    assert min(accuracy, plain_accuracy) > 0.95


def test_evaluation_is_plain_whatever_the_training_was(
    trainer: Trainer, start: NDArray[np.float32], data: LabelledImages
) -> None:
    before = trainer.evaluate(start, data)
    train(trainer, start, LabelledImages(data.images, 0 * data.labels), calibrated=True)
    assert trainer.evaluate(start, data).loss == pytest.approx(before.loss, rel=1e-5)


@pytest.mark.parametrize("calibrated", [False, True])
def test_a_robot_with_one_class_stays_finite(
    trainer: Trainer, start: NDArray[np.float32], data: LabelledImages, calibrated: bool
) -> None:
    """Also from weights that are so sure of the other class that its probability is 0."""
    alone = LabelledImages(data.images, np.zeros(96, np.int32))
    sure = start.copy()
    sure[-2:] = (-500.0, 500.0)
    for weights in (start, sure):
        result = train(trainer, weights, alone, calibrated=calibrated)
        assert np.isfinite([result.loss, *result.weights]).all()


def test_the_plain_loss_is_the_cross_entropy_of_keras() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.0, 1e-20, 1.0], [1.0, 0.0, 0.0]], np.float32)
    classes = np.array([1, 1, 0], np.int32)
    ours = CalibratedCrossEntropy(3).call(classes, probabilities)
    np.testing.assert_allclose(ours, -np.log([0.2, 1e-20, 1.0]), rtol=1e-5, atol=1e-6)


def test_the_calibrated_loss_sees_probabilities_weighted_by_the_class_shares() -> None:
    probabilities = np.array([[0.5, 0.25, 0.25]], np.float32)
    loss = CalibratedCrossEntropy(3)
    loss.set_class_counts([30, 10, 0])
    seen = [0.5 * 30, 0.25 * 10]
    for number in (0, 1):
        expected = -np.log(seen[number] / sum(seen))
        ours = np.asarray(loss.call(np.array([number]), probabilities))
        np.testing.assert_allclose(ours, [expected], rtol=1e-4)


def test_a_saved_model_needs_no_code_of_this_package(
    trainer: Trainer, start: NDArray[np.float32], data: LabelledImages, tmp_path: Path
) -> None:
    train(trainer, start, data, calibrated=True)
    trainer.model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(pack_weights(loaded.get_weights()).size, start.size)
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        assert b"fl_robot_ros" not in archive.read("config.json")


def test_weights_that_are_no_weights_are_refused(
    trainer: Trainer, start: NDArray[np.float32], data: LabelledImages
) -> None:
    broken = start.copy()
    broken[7] = np.nan
    for wrong, message in (
        (broken, "1 of .* not finite"),
        (start[:-1], f"{start.size - 1} weights"),
        (start.astype(np.float64), "float64"),
        (start[None], r"\(1,"),
    ):
        with pytest.raises(ModelError, match=message):
            trainer.evaluate(wrong, data)


def test_training_that_diverges_is_an_error_and_no_update(
    trainer: Trainer, start: NDArray[np.float32], data: LabelledImages
) -> None:
    huge = (start * np.float32(1e30)).astype(np.float32)
    with pytest.raises(ModelError, match="not finite"):
        train(trainer, huge, data, learning_rate=10.0)


def test_nothing_to_learn_from_is_an_error(trainer: Trainer, start: NDArray[np.float32]) -> None:
    empty = LabelledImages(np.zeros((0, 12, 12, 3), np.uint8), np.zeros(0, np.int32))
    with pytest.raises(SnapshotError):
        train(trainer, start, empty)
    with pytest.raises(SnapshotError):
        trainer.evaluate(start, empty)


def test_a_model_must_go_with_classes_and_input() -> None:
    architecture = architecture_of(build_reference_cnn(12, 12, 3, 2))
    with pytest.raises(ModelError, match="3 classes"):
        Trainer(architecture, INPUT, ("a", "b", "c"))
    with pytest.raises(ModelError, match="the model maps"):
        Trainer(architecture, Preprocessing(16, 12, 3, 1.0), CLASSES)


def test_packed_weights_round_trip() -> None:
    model = build_reference_cnn(12, 12, 1, 3, seed=5)
    packed = pack_weights(model.get_weights())
    assert packed.shape == (model.count_params(),)
    other = build_reference_cnn(12, 12, 1, 3, seed=6)
    set_packed_weights(other, packed)
    for mine, theirs in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert check_weights(packed, packed.size) is not None


def test_labels_map_to_classes() -> None:
    assert map_label("light", CLASSES) == 1
    assert map_label("LIGHT", CLASSES) == 1
    assert map_label("grey", CLASSES) is None
    assert map_label("a", ("A", "a")) == 1


def test_images_are_loaded_and_what_is_left_out_is_counted(tmp_path: Path) -> None:
    image = np.zeros((24, 24, 3), np.uint8)
    image[:, :, 2] = 200  # red, in OpenCV's order
    for name in ("a.png", "b.png", "c.png"):
        cv2.imwrite(str(tmp_path / name), image)
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 no image")
    items = [
        (tmp_path / "a.png", "dark"),
        (tmp_path / "broken.jpg", "dark"),
        (tmp_path / "b.png", "Light"),
        (tmp_path / "c.png", "grey"),
        (tmp_path / "absent.png", "light"),
    ]
    images = load_images(items, CLASSES, INPUT)
    assert images.labels.tolist() == [0, 1]
    assert images.images.shape == (2, 12, 12, 3)
    assert images.images[0, 0, 0].tolist() == [200, 0, 0]
    assert images.unmapped == {"grey": 1}
    assert images.unreadable == 2
    assert images.class_counts(2) == [1, 1]


def test_what_is_exported_predicts_as_the_trained_model_does(
    trainer: Trainer, start: NDArray[np.float32], data: LabelledImages, tmp_path: Path
) -> None:
    result = train(trainer, start, data, epochs=6)
    set_packed_weights(trainer.model, result.weights)

    def build(folder: Path) -> Candidate:
        export_model(trainer.model, folder)
        return Candidate(classes=list(CLASSES), preprocessing=INPUT.to_dict())

    predictor = Predictor(ModelStore(tmp_path).add(build).folder)
    keras_says = np.asarray(trainer.model(data.images[:8] / np.float32(255)))
    for image, expected in zip(data.images[:8], keras_says, strict=True):
        np.testing.assert_allclose(predictor.predict(image).probabilities, expected, atol=1e-4)
