"""Inference with a model version, by LiteRT, one image at a time."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.delivery.manifest import MANIFEST_FILE, TFLITE_FILE, Manifest
from fl_robot_ros.delivery.model_versions import CURRENT, ModelVersions
from fl_robot_ros.delivery.runtime_notes import without_note
from fl_robot_ros.dependency import describe_unimportable
from fl_robot_ros.errors import ModelError
from fl_robot_ros.images.preprocessing import Preprocessing

# The first importable module is used; all offer the same Interpreter.
_RUNTIMES = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter")

_TYPES = (np.float32, np.int8, np.uint8)


@dataclass(frozen=True)
class _Tensor:
    """An input or output of the interpreter.

    A quantized tensor has whole numbers q for the values scale * (q - zero_point)
    (https://ai.google.dev/edge/litert/conversion/tensorflow/quantization/quantization_spec).
    """

    index: int
    dtype: type[np.generic]
    scale: float
    zero_point: int

    def to_tensor(self, values: NDArray[np.float32]) -> NDArray[Any]:
        if self.dtype is np.float32:
            return values
        limits = np.iinfo(self.dtype)  # type: ignore[type-var]
        whole = np.rint(values / np.float32(self.scale)) + np.float32(self.zero_point)
        quantized: NDArray[Any] = whole.clip(limits.min, limits.max).astype(self.dtype)
        return quantized

    def to_values(self, tensor: NDArray[Any]) -> NDArray[np.float32]:
        if self.dtype is np.float32:
            return tensor
        values = np.float32(self.scale) * (tensor.astype(np.float32) - np.float32(self.zero_point))
        return np.asarray(values, dtype=np.float32)


@dataclass(frozen=True)
class Prediction:
    """A model's outputs for one image.

    Attributes:
        label: The most probable class.
        confidence: Its output, 0 to 1 for a model that ends in softmax.
        probabilities: All outputs, float32 (classes,).
    """

    label: str
    confidence: float
    probabilities: NDArray[np.float32]


class Predictor:
    """Owns the interpreter of one verified model version. Not for use by two threads at once.

    Attributes:
        path: The loaded .tflite file.
        manifest: The manifest of its version.
        preprocessing: The conversion of an image to the model's input.
    """

    def __init__(self, model_path: Path | str, num_threads: int = 1) -> None:
        """Verify and load a model, and run it once on a black image.

        Args:
            model_path: A version folder, a file in one (model.keras, model.tflite or
                manifest.json), or any .tflite file with its manifest.json beside it.
            num_threads: Threads of the interpreter, 1 or more.

        Raises:
            ModelError: There is no model, the manifest is invalid, the file's hash differs, LiteRT
                is not installed, or the model's inputs and outputs contradict the manifest.
        """
        folder, name = locate_model(Path(model_path))
        self.path = folder / name
        self.manifest = Manifest.load(folder / MANIFEST_FILE)
        self.preprocessing = Preprocessing.from_dict(self.manifest.preprocessing)
        content = self.manifest.read_file(folder, name)
        with without_note():
            self._interpreter = _make_interpreter(self.path, content, num_threads)
            self._input, self._output = self._check_tensors()
        height, width, _ = self.preprocessing.input_shape
        self.predict(np.zeros((height, width, 3), dtype=np.uint8))

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the outputs."""
        return tuple(self.manifest.classes)

    @property
    def sha256(self) -> str:
        """SHA-256 of the loaded file in hexadecimal."""
        return self.manifest.files[self.path.name]

    @property
    def version(self) -> str:
        """Name of the model version."""
        return self.manifest.version

    def predict(self, image: NDArray[np.uint8]) -> Prediction:
        """Classify one image.

        Args:
            image: Image, uint8 (H, W, 3), RGB, 0 to 255, of any size.

        Raises:
            FrameError: The image has another shape or type.
            ModelError: The model fails, or its outputs are not finite.
        """
        output = self.infer(self.preprocessing.apply(image))
        best = int(output.argmax())
        return Prediction(self.manifest.classes[best], float(output[best]), output)

    def infer(self, model_input: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the outputs for a preprocessed image.

        Args:
            model_input: float32 (height, width, channels), in the model's range.

        Returns:
            Outputs, float32 (classes,), finite.

        Raises:
            ModelError: The model fails, or its outputs are not finite.
        """
        try:
            content = self._input.to_tensor(model_input)
            self._interpreter.set_tensor(self._input.index, content[np.newaxis])
            self._interpreter.invoke()
            output = self._output.to_values(self._interpreter.get_tensor(self._output.index)[0])
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"{self.path} failed: {_first_line(error)}") from error
        if not np.isfinite(output).all():
            raise ModelError(f"{self.path} gives outputs that are not finite")
        return output

    def _check_tensors(self) -> tuple[_Tensor, _Tensor]:
        """Allocate tensors for one image; return input and output."""
        interpreter = self._interpreter
        shape = (1, *self.preprocessing.input_shape)
        try:
            inputs = interpreter.get_input_details()
            outputs = interpreter.get_output_details()
            if len(inputs) != 1 or len(outputs) != 1:
                raise ModelError(
                    f"{self.path} has {len(inputs)} inputs and {len(outputs)} outputs; "
                    "expected one of each"
                )
            if _fits(inputs[0], shape):
                interpreter.resize_tensor_input(inputs[0]["index"], shape)
            interpreter.allocate_tensors()
            inputs = interpreter.get_input_details()
            outputs = interpreter.get_output_details()
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"{self.path} cannot be prepared: {_first_line(error)}") from error
        expected = (1, len(self.manifest.classes))
        for what, details, wanted in (
            ("input", inputs[0], shape),
            ("output", outputs[0], expected),
        ):
            found = tuple(int(size) for size in details["shape"])
            if found != wanted or details["dtype"] not in _TYPES:
                raise ModelError(
                    f"{self.path} has an {what} of shape {found} and type "
                    f"{np.dtype(details['dtype'])}; its manifest asks for {wanted}, and the type "
                    "is float32, int8 or uint8"
                )
        return self._tensor("input", inputs[0]), self._tensor("output", outputs[0])

    def _tensor(self, what: str, details: Any) -> _Tensor:
        scale, zero_point = details["quantization"]
        if details["dtype"] is not np.float32 and scale <= 0:
            raise ModelError(
                f"{self.path} has an {what} of type {np.dtype(details['dtype'])} without a scale; "
                "a quantized model has one scale and one zero point for it"
            )
        return _Tensor(int(details["index"]), details["dtype"], float(scale), int(zero_point))


def locate_model(path: Path) -> tuple[Path, str]:
    """Return the folder and the name of the .tflite file of a model path.

    Args:
        path: As for `Predictor`.

    Raises:
        ModelError: There is no such file or folder.
    """
    # Resolved, because `current` may change between reading the manifest and the model.
    if path.is_dir():
        return path.resolve(), TFLITE_FILE
    if not path.exists():
        if path.name == CURRENT and ModelVersions(path.parent).versions():
            raise ModelError(
                f"no version in {path.parent} is current; 'fl_model list --models {path.parent}' "
                "shows them, and --model takes any of their folders"
            )
        raise ModelError(
            f"there is no model at {path}; expected a version folder or a file in one"
        )
    return path.parent.resolve(), path.name if path.suffix == ".tflite" else TFLITE_FILE


def _make_interpreter(path: Path, content: bytes, num_threads: int) -> Any:
    """Return a LiteRT interpreter of the model, or raise ModelError."""
    failure: ImportError | None = None
    for runtime in _RUNTIMES:
        try:
            interpreter_class = importlib.import_module(runtime).Interpreter
        except ImportError as error:
            failure = failure or error
            continue
        try:
            return interpreter_class(model_content=content, num_threads=num_threads)
        except (ValueError, RuntimeError) as error:
            raise ModelError(
                f"{path} is not a LiteRT model that can be run here: {_first_line(error)}"
            ) from error
    assert failure
    raise ModelError(describe_unimportable(failure)) from failure


def _fits(details: Any, shape: tuple[int, ...]) -> bool:
    """Say whether an input has the shape, or open dimensions where it differs."""
    signature = [int(size) for size in details["shape_signature"]]
    return len(signature) == len(shape) and all(
        size in (-1, wanted) for size, wanted in zip(signature, shape, strict=True)
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
