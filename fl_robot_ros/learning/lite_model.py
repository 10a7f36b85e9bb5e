"""A LiteRT model in memory, as it will run on the robot."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.delivery.runtime_notes import without_note
from fl_robot_ros.errors import ModelError
from fl_robot_ros.one_line import one_line


class LiteModel:
    """Owns an interpreter with one thread, for one image at a time."""

    def __init__(self, content: bytes) -> None:
        """Load a model with one float32 input and one float32 output.

        Args:
            content: Content of a .tflite file.

        Raises:
            ModelError: LiteRT cannot run the model: it lacks an operation, for example.
        """
        from ai_edge_litert.interpreter import Interpreter

        try:
            with without_note():
                self._interpreter = Interpreter(model_content=content, num_threads=1)
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise _failure(error) from error
        self._source = self._interpreter.get_input_details()[0]["index"]
        self._sink = self._interpreter.get_output_details()[0]["index"]

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
            self._interpreter.set_tensor(self._source, model_input[np.newaxis])
            self._interpreter.invoke()
            output: NDArray[np.float32] = self._interpreter.get_tensor(self._sink)[0]
        except (ValueError, RuntimeError) as error:
            raise _failure(error) from error
        if not np.isfinite(output).all():
            raise ModelError("the LiteRT model gives outputs that are not finite")
        return output


def _failure(error: Exception) -> ModelError:
    return ModelError(f"LiteRT cannot run the model: {one_line(str(error), 300)}")
