"""The robot's camera: its movement past a sign, its lens, its sensor and the light."""

import math
from dataclasses import astuple, dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.demo.sign import BOARD_HEIGHT_PX, SIGN_HEIGHT_PX, SIGN_WIDTH_PX

FRAME_HEIGHT_PX = 240
FRAME_WIDTH_PX = 320
BACKDROP_MARGIN_PX = 48

_FOCAL_PX = 300.0  # A field of view of about 56 degrees, usual for a robot's camera.
_NOISE_MARGIN_PX = 64


@dataclass(frozen=True)
class View:
    """Position of a sign before the camera, and the light, at one moment.

    Attributes:
        x_px: Centre of the sign, to the right from the centre of the image.
        y_px: Centre of the sign, down from the centre of the image.
        height_px: Height of the board, seen straight on.
        yaw_rad: Turn about the vertical axis.
        pitch_rad: Turn about the horizontal axis.
        roll_rad: Turn about the line of sight.
        gain: Factor of the light, 1.0 is a well lit sign.
        defocus_px: Standard deviation of the lens blur.
    """

    x_px: float
    y_px: float
    height_px: float
    yaw_rad: float
    pitch_rad: float
    roll_rad: float
    gain: float
    defocus_px: float

    def homography(self) -> NDArray[np.float64]:
        """Return the 3x3 matrix from pixels of the sign to pixels of the frame."""
        sy, cy = math.sin(self.yaw_rad), math.cos(self.yaw_rad)
        sp, cp = math.sin(self.pitch_rad), math.cos(self.pitch_rad)
        sr, cr = math.sin(self.roll_rad), math.cos(self.roll_rad)
        # The first two columns of Rz(roll) Rx(pitch) Ry(yaw): the sign is flat.
        right = np.array([cr * cy - sr * sp * sy, sr * cy + cr * sp * sy, -cp * sy])
        down = np.array([-sr * cp, cr * cp, sp])
        scale = self.height_px / BOARD_HEIGHT_PX
        plane = np.column_stack([right * scale, down * scale, (0.0, 0.0, 1.0)])
        plane[2, :2] /= _FOCAL_PX
        place = np.eye(3)
        place[:2, 2] = FRAME_WIDTH_PX / 2 + self.x_px, FRAME_HEIGHT_PX / 2 + self.y_px
        center = np.eye(3)
        center[:2, 2] = -SIGN_WIDTH_PX / 2, -SIGN_HEIGHT_PX / 2
        return np.asarray(place @ plane @ center)


def pick_view(rng: np.random.Generator) -> View:
    """Return a random view in which the sign fills most of the image."""
    return View(
        x_px=rng.uniform(-9, 9),
        y_px=rng.uniform(-5, 5),
        height_px=rng.uniform(212, 232),
        yaw_rad=rng.normal(0, 0.11),
        pitch_rad=rng.normal(0, 0.08),
        roll_rad=rng.normal(0, 0.035),
        gain=rng.uniform(0.82, 1.08),
        defocus_px=rng.uniform(0.5, 1.2),
    )


def pan(start: View, end: View, count: int) -> list[View]:
    """Return `count` views that lead smoothly from one view to another."""
    first, last = np.array(astuple(start)), np.array(astuple(end))
    views = []
    for step in np.linspace(0.0, 1.0, count):
        eased = step * step * (3.0 - 2.0 * step)
        views.append(View(*(float(value) for value in first + eased * (last - first))))
    return views


class Sensor:
    """Lens and sensor: turns a view of a sign before a backdrop into a frame."""

    def __init__(self, rng: np.random.Generator) -> None:
        """Draw the noise that all frames are cut from.

        Args:
            rng: Random number generator.
        """
        self._rng = rng
        shape = (FRAME_HEIGHT_PX + _NOISE_MARGIN_PX, FRAME_WIDTH_PX + _NOISE_MARGIN_PX, 3)
        grain = rng.standard_normal(shape, np.float32)
        self._noise = [np.round(grain * sigma).astype(np.int16) for sigma in (3, 6, 9, 12)]

    def expose(
        self,
        backdrop: NDArray[np.uint8],
        sign: NDArray[np.uint8] | None,
        view: View,
        speed_px: float,
    ) -> NDArray[np.uint8]:
        """Take one frame.

        Args:
            backdrop: uint8 RGB, larger than a frame by BACKDROP_MARGIN_PX on every side.
            sign: uint8 RGBA as paint_sign makes it, or None where there is no sign.
            view: Position of the sign, and the light.
            speed_px: Sideways motion since the previous frame, which blurs the image.

        Returns:
            uint8 RGB, shape (FRAME_HEIGHT_PX, FRAME_WIDTH_PX, 3).
        """
        # What is farther away moves less.
        left = BACKDROP_MARGIN_PX + round(view.x_px * 0.6)
        top = BACKDROP_MARGIN_PX + round(view.y_px * 0.6)
        scene = backdrop[top : top + FRAME_HEIGHT_PX, left : left + FRAME_WIDTH_PX]
        if sign is not None:
            size = (FRAME_WIDTH_PX, FRAME_HEIGHT_PX)
            hung = cv2.warpPerspective(sign, view.homography(), size)
            opacity = cv2.cvtColor(cv2.extractChannel(hung, 3), cv2.COLOR_GRAY2RGB)
            behind = cv2.multiply(scene, cv2.bitwise_not(opacity), scale=1 / 255)
            scene = np.asarray(cv2.add(cv2.cvtColor(hung, cv2.COLOR_RGBA2RGB), behind), np.uint8)
        smear_px = math.hypot(view.defocus_px, abs(speed_px) * 0.3)
        blurred = cv2.GaussianBlur(scene, (7, 7), smear_px, sigmaY=view.defocus_px)
        lit = cv2.convertScaleAbs(blurred, alpha=view.gain)
        # A darker image is amplified more and is noisier for it.
        noise = self._noise[int(np.clip(round((1.3 - view.gain) * 4), 0, len(self._noise) - 1))]
        top, left = self._rng.integers(0, _NOISE_MARGIN_PX, 2)
        grain = noise[top : top + FRAME_HEIGHT_PX, left : left + FRAME_WIDTH_PX]
        return np.asarray(cv2.add(lit, grain, dtype=cv2.CV_8U), np.uint8)
