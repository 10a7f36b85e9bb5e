"""From an image to a model's input, the same in training and inference."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.errors import FrameError, ModelError

MAX_INPUT_PX = 4096


@dataclass(frozen=True)
class Preprocessing:
    """Size, channels and scale of a model's input.

    Attributes:
        height: Rows of the input, 1 to 4096 px.
        width: Columns of the input, 1 to 4096 px.
        channels: 3 for RGB, 1 for grey.
        scale: Factor from 8-bit pixels to the model's range, above 0; 1/255 gives 0 to 1.
    """

    height: int
    width: int
    channels: int
    scale: float

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            ModelError: A value has the wrong type or is out of range.
        """
        for name in ("height", "width", "channels"):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= MAX_INPUT_PX:
                raise ModelError(
                    f"preprocessing: {name} is {value!r}; expected a whole number from 1 to "
                    f"{MAX_INPUT_PX}"
                )
        if self.channels not in (1, 3):
            raise ModelError(f"preprocessing: channels is {self.channels}; expected 1 or 3")
        scale = self.scale
        if isinstance(scale, bool) or not isinstance(scale, (int, float)):
            raise ModelError(f"preprocessing: scale is {scale!r}; expected a number")
        if not math.isfinite(scale) or scale <= 0:
            raise ModelError(f"preprocessing: scale is {scale!r}; expected a number above 0")
        object.__setattr__(self, "scale", float(scale))

    def __str__(self) -> str:
        colour = "RGB" if self.channels == 3 else "grey"
        return f"{self.width}x{self.height} px {colour}, scale {self.scale:.4g}"

    def to_dict(self) -> dict[str, Any]:
        """Return the values by name, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """Make it from values by name, as read from JSON.

        Raises:
            ModelError: A name is missing or unknown, or a value is invalid.
        """
        names = {field.name for field in fields(cls)}
        if not isinstance(values, Mapping) or set(values) != names:
            raise ModelError(
                f"preprocessing is {str(values)[:200]}; expected exactly the names "
                f"{', '.join(sorted(names))}"
            )
        return cls(**values)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Shape of one input: (height, width, channels)."""
        return (self.height, self.width, self.channels)

    def resize(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return an image in the input's size and channels, not yet scaled.

        Args:
            image: Image, uint8 (H, W, 3), RGB, 0 to 255.

        Returns:
            Image, uint8 (height, width, channels), 0 to 255.

        Raises:
            FrameError: The image has another shape or type.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise FrameError(
                f"image of shape {image.shape} and type {image.dtype}; expected uint8 (H, W, 3)"
            )
        rows, columns = image.shape[:2]
        resized: Any = image
        if (rows, columns) != (self.height, self.width):
            shrinks = rows >= self.height and columns >= self.width
            interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            resized = cv2.resize(image, (self.width, self.height), interpolation=interpolation)
        if self.channels == 1:
            resized = cv2.cvtColor(resized, cv2.COLOR_RGB2GRAY)
        return np.asarray(resized, dtype=np.uint8).reshape(self.input_shape)

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the model's input for one image: `resize`, then times `scale`.

        Args:
            image: Image, uint8 (H, W, 3), RGB, 0 to 255.

        Returns:
            Input, float32 (height, width, channels), 0 to 255 * scale.

        Raises:
            FrameError: The image has another shape or type.
        """
        scaled = self.resize(image).astype(np.float32) * np.float32(self.scale)
        return np.asarray(scaled, dtype=np.float32)
