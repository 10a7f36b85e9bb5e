"""What Triton gets: a model's folder of which it takes a version when that is whole."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fl_robot_ros.delivery.manifest import Manifest
from fl_robot_ros.delivery.triton_layout import publish_for_triton
from fl_robot_ros.errors import ModelError


def load_model(file: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Load a model.py as Triton does, with what it uses of Triton's own module."""
    module = SimpleNamespace(
        get_input_tensor_by_name=lambda request, name: request[name],
        Tensor=lambda name, values: (name, values),
        InferenceResponse=lambda output_tensors: dict(output_tensors),
    )
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", module)
    spec = importlib.util.spec_from_file_location("model", file)
    assert spec
    assert spec.loader
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    model = loaded.TritonPythonModel()
    model.initialize({})
    return model


def test_triton_gets_versions_of_one_model(
    write_version: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_version("v00007")
    manifest = Manifest.load(folder)
    target = tmp_path / "repository" / "colours"
    place = publish_for_triton(folder, manifest, target)
    assert place == target / "7"
    assert {path.name for path in target.iterdir()} == {"7", "config.pbtxt", "labels.txt"}
    assert (target / "labels.txt").read_text() == "red\ngreen\nblue\n"
    config = (target / "config.pbtxt").read_text()
    assert 'name: "image" data_type: TYPE_FP32 dims: [8, 8, 3]' in config
    assert 'name: "scores" data_type: TYPE_FP32 dims: [3]' in config
    images = np.zeros((3, 8, 8, 3), np.float32)
    for colour in range(3):
        images[colour, ..., colour] = 1
    request = {"image": SimpleNamespace(as_numpy=lambda: images)}
    [reply] = load_model(place / "model.py", monkeypatch).execute([request])
    assert reply["scores"].dtype == np.float32
    assert reply["scores"].argmax(axis=1).tolist() == [0, 1, 2]

    with pytest.raises(ModelError, match=r"there is .*/7 already"):
        publish_for_triton(folder, manifest, target)
    publish_for_triton(folder, replace(manifest, version="v00012"), target)
    assert (target / "12" / "model.tflite").is_file()
    other = replace(manifest, version="v00013", classes=["red", "green", "yellow"])
    with pytest.raises(ModelError, match=r"labels\.txt is that of a model with another input"):
        publish_for_triton(folder, other, target)
    assert not (target / "13").exists()
