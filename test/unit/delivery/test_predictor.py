import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fl_robot_ros.delivery.loader import ModelLoader
from fl_robot_ros.delivery.manifest import TFLITE_FILE
from fl_robot_ros.delivery.model_file import hash_file
from fl_robot_ros.delivery.predictor import Predictor
from fl_robot_ros.errors import FrameError, ModelError

WriteVersion = Callable[..., Path]


def plain(colour: int, height: int = 30, width: int = 40) -> NDArray[np.uint8]:
    image = np.zeros((height, width, 3), dtype=np.uint8)
    image[:, :, colour] = 255
    return image


@pytest.mark.parametrize("name", ["", "model.tflite", "manifest.json", "model.keras"])
def test_every_form_of_the_path_loads_the_version(write_version: WriteVersion, name: str) -> None:
    folder = write_version()
    predictor = Predictor(folder / name)
    assert predictor.classes == ("red", "green", "blue")
    assert predictor.version == "v00001"
    assert predictor.path == folder / TFLITE_FILE
    for index, label in enumerate(predictor.classes):
        prediction = predictor.predict(plain(index))
        assert prediction.label == label
        assert prediction.confidence == pytest.approx(1.0, abs=1e-4)
        assert prediction.probabilities.shape == (3,)
        assert prediction.probabilities.dtype == np.float32


def test_a_lone_file_has_its_manifest_beside_it(write_version: WriteVersion) -> None:
    folder = write_version(files={"other.tflite": "0" * 64})
    (folder / TFLITE_FILE).rename(folder / "other.tflite")
    digest = hash_file(folder / "other.tflite")
    (folder / "manifest.json").write_text(
        (folder / "manifest.json").read_text().replace("0" * 64, digest)
    )
    assert Predictor(str(folder / "other.tflite")).predict(plain(2)).label == "blue"


def test_predictions_do_not_change_when_the_next_is_made(write_version: WriteVersion) -> None:
    predictor = Predictor(write_version())
    first = predictor.predict(plain(0)).probabilities
    kept = first.copy()
    predictor.predict(plain(1))
    np.testing.assert_array_equal(first, kept)


def test_the_link_to_the_current_version_is_followed_once(write_version: WriteVersion) -> None:
    folder = write_version()
    link = folder.parent / "current"
    link.symlink_to(folder.name)
    assert Predictor(link / "model.tflite").path == folder / TFLITE_FILE


def test_a_changed_file_is_not_loaded(write_version: WriteVersion) -> None:
    folder = write_version()
    content = bytearray((folder / TFLITE_FILE).read_bytes())
    content[100] ^= 1
    (folder / TFLITE_FILE).write_bytes(content)
    with pytest.raises(ModelError, match="SHA-256"):
        Predictor(folder)


def test_missing_files_are_named(write_version: WriteVersion, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no model at"):
        Predictor(tmp_path / "absent")
    folder = write_version()
    with pytest.raises(ModelError, match="is current; 'fl_model list"):
        Predictor(folder.with_name("current"))
    (folder / TFLITE_FILE).unlink()
    with pytest.raises(ModelError, match=r"model\.tflite"):
        Predictor(folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(ModelError, match=r"manifest\.json"):
        Predictor(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": ["red", "green"]}, "output of shape"),
        (
            {"preprocessing": {"height": 8, "width": 9, "channels": 3, "scale": 1.0}},
            "input of shape",
        ),
        (
            {"preprocessing": {"height": 8, "width": 8, "channels": 1, "scale": 1.0}},
            "input of shape",
        ),
    ],
)
def test_shapes_must_be_those_of_the_manifest(
    write_version: WriteVersion, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        Predictor(write_version(**changes))


@pytest.mark.parametrize("content", [b"", b"not a model", bytes(5000)], ids=["empty", "text", "0"])
def test_a_file_that_is_no_model_is_refused(
    write_version: WriteVersion, tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    folder = write_version(files={TFLITE_FILE: hash_file(file)})
    (folder / TFLITE_FILE).write_bytes(content)
    with pytest.raises(ModelError, match="not a LiteRT model"):
        Predictor(folder)


def test_a_image_of_another_kind_is_refused(write_version: WriteVersion) -> None:
    predictor = Predictor(write_version())
    with pytest.raises(FrameError, match="expected uint8"):
        predictor.predict(np.zeros((8, 8), dtype=np.uint8))


def test_the_loader_gives_models_and_reasons(write_version: WriteVersion, tmp_path: Path) -> None:
    done = threading.Event()
    results: list[object] = []

    def take(result: object) -> None:
        results.append(result)
        done.set()

    loader = ModelLoader(Predictor, take, lambda path, error: take(error))
    try:
        for path in (str(tmp_path / "absent"), str(write_version()), "\0"):
            done.clear()
            loader.request(path)
            assert done.wait(20.0)
    finally:
        loader.stop()
    assert [type(result) for result in results] == [ModelError, Predictor, ModelError]


@pytest.mark.parametrize("kind", ["int8", "uint8"])
def test_quantized_inputs_and_outputs_give_the_same_predictions(
    write_version: WriteVersion, kind: str
) -> None:
    predictor = Predictor(write_version("v1", model=kind))
    reference = Predictor(write_version("v2"))
    for colour, name in enumerate(predictor.classes):
        prediction = predictor.predict(plain(colour))
        assert prediction.label == name
        assert prediction.probabilities.dtype == np.float32
        np.testing.assert_allclose(
            prediction.probabilities, reference.predict(plain(colour)).probabilities, atol=0.01
        )
    # Beyond the range of the whole numbers, values are cut and do not wrap.
    beyond = predictor.infer(np.full((8, 8, 3), (9.0, -9.0, -9.0), np.float32))
    assert beyond.argmax() == 0


def test_a_quantized_tensor_needs_a_scale(write_version: WriteVersion) -> None:
    predictor = Predictor(write_version(model="int8"))
    details = {"index": 0, "dtype": np.int8, "quantization": (0.0, 0)}
    with pytest.raises(ModelError, match="without a scale"):
        predictor._tensor("input", details)
