"""A model version as NVIDIA's Triton loads it.

Triton wants a folder for a model, with `config.pbtxt` and a numbered folder for each version (its
docs/user_guide/model_repository.md). It has no backend for LiteRT, and since 25.03 none for
TensorFlow, so that its Python backend runs the version's `model.tflite`.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from fl_robot_ros.atomic_file import staging_file
from fl_robot_ros.delivery.export_layout import publish, version_number
from fl_robot_ros.delivery.manifest import MANIFEST_FILE, TFLITE_FILE, Manifest
from fl_robot_ros.errors import ModelError

_CONFIG_FILE = "config.pbtxt"
_LABELS_FILE = "labels.txt"
_MAX_BATCH = 32

# Runs where this package is not; only LiteRT and NumPy are.
_MODEL_PY = '''\
"""Runs model.tflite beside this file. Triton's Python needs: pip install ai-edge-litert"""

from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils
from ai_edge_litert.interpreter import Interpreter


class TritonPythonModel:
    def initialize(self, args):
        self.interpreter = Interpreter(str(Path(__file__).with_name("model.tflite")))
        self.interpreter.allocate_tensors()
        [self.source] = self.interpreter.get_input_details()
        [self.sink] = self.interpreter.get_output_details()

    def execute(self, requests):
        return [self.reply(request) for request in requests]

    def reply(self, request):
        images = pb_utils.get_input_tensor_by_name(request, "image").as_numpy()
        scores = np.stack([self.infer(image) for image in images])
        tensor = pb_utils.Tensor("scores", scores.astype(np.float32))
        return pb_utils.InferenceResponse(output_tensors=[tensor])

    def infer(self, image):
        if self.source["dtype"] != np.float32:
            scale, zero = self.source["quantization"]
            limits = np.iinfo(self.source["dtype"])
            image = np.clip(np.round(image / scale) + zero, limits.min, limits.max)
        self.interpreter.set_tensor(
            self.source["index"], image[np.newaxis].astype(self.source["dtype"])
        )
        self.interpreter.invoke()
        scores = self.interpreter.get_tensor(self.sink["index"])[0]
        if self.sink["dtype"] != np.float32:
            scale, zero = self.sink["quantization"]
            scores = (scores.astype(np.float32) - zero) * scale
        return scores
'''


def publish_for_triton(folder: Path, manifest: Manifest, target: Path) -> Path:
    """Write a version into a model's folder of Triton's; return its numbered folder.

    Args:
        folder: The version's folder, verified.
        manifest: Its manifest.
        target: The model's folder in Triton's repository.

    Raises:
        ModelError: The folder has a model of another input or other classes, or there is this
            version already, or a file cannot be written.
    """
    shared = {_CONFIG_FILE: _config(manifest), _LABELS_FILE: "\n".join((*manifest.classes, ""))}
    for name, text in shared.items():
        _write_once(target / name, text)

    def write(staging: Path) -> None:
        (staging / "model.py").write_text(_MODEL_PY, encoding="utf-8")
        for name in (TFLITE_FILE, MANIFEST_FILE):
            shutil.copyfile(folder / name, staging / name)

    return publish(target, version_number(manifest), write)


def _config(manifest: Manifest) -> str:
    """Return Triton's configuration; without a name, the model's is that of its folder."""
    shape = manifest.preprocessing
    dims = [shape["height"], shape["width"], shape["channels"]]
    return f"""\
backend: "python"
max_batch_size: {_MAX_BATCH}
input {{ name: "image" data_type: TYPE_FP32 dims: {json.dumps(dims)} }}
output {{
  name: "scores" data_type: TYPE_FP32 dims: [{len(manifest.classes)}]
  label_filename: "{_LABELS_FILE}"
}}
"""


def _write_once(file: Path, text: str) -> None:
    """Write a file that all versions share, or see that it is the same already."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            with staging_file(file) as staging:
                staging.write_text(text, encoding="utf-8")
        elif file.read_text(encoding="utf-8") != text:
            raise ModelError(
                f"{file} is that of a model with another input or other classes; name another "
                "folder, or remove it"
            )
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"cannot write {file}: {error}") from error
