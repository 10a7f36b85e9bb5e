"""The scene of the demonstration: a robot's camera passes one sign after another.

Everything follows from the scene's name, the split and the seed: the same three give the same
frames, bit for bit.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fl_robot_ros.demo.backdrop import paint_backdrop
from fl_robot_ros.demo.camera import (
    BACKDROP_MARGIN_PX,
    FRAME_HEIGHT_PX,
    FRAME_WIDTH_PX,
    Sensor,
    pan,
    pick_view,
)
from fl_robot_ros.demo.glyph import SPLITS, DigitGlyphs, GlyphSource, ShapeGlyphs
from fl_robot_ros.demo.sign import paint_sign
from fl_robot_ros.errors import SettingError

SCENE_NAMES = ("digits", "shapes")

LabelledFrame = tuple[NDArray[np.uint8], str]

# A robot that drives past sees each sign for about a third of a second: short enough that a
# minute of camera holds many different signs.
MIN_APPEARANCE_FRAMES = 3
MAX_APPEARANCE_FRAMES = 5
GAP_FRAMES = 2

_ROBOT_CLASSES: dict[str, dict[str, tuple[str, ...]]] = {
    "digits": {"robot1": tuple("0123456"), "robot2": tuple("3456789")},
    "shapes": {
        "robot1": ("circle", "square", "star"),
        "robot2": ("square", "star", "triangle"),
    },
}


class Scene:
    """A set of signs, and the signs that each robot meets.

    Attributes:
        name: "digits" or "shapes".
        classes: Every label that occurs.
        robot_classes: By robot, the labels of its signs.
    """

    def __init__(self, name: str) -> None:
        """Prepare a scene.

        Args:
            name: One of SCENE_NAMES.

        Raises:
            SettingError: There is no scene of that name.
        """
        if name not in SCENE_NAMES:
            raise SettingError(f"scene is {name!r}; expected {' or '.join(SCENE_NAMES)}")
        self.name = name
        self._glyphs: GlyphSource = DigitGlyphs() if name == "digits" else ShapeGlyphs()
        self.classes = self._glyphs.classes
        self.robot_classes = dict(_ROBOT_CLASSES[name])

    def frames(self, split: str, count: int, seed: int) -> Iterator[LabelledFrame]:
        """Yield what the camera sees: signs with their labels, and short gaps between them.

        Args:
            split: "robot1", "robot2" or "test". No glyph of one split occurs in another.
            count: Labelled frames to yield; the frames of the gaps come on top.
            seed: 0 or more; another seed gives a drive past other signs.

        Yields:
            A frame, uint8 RGB of shape (240, 320, 3), and its label, "" within a gap.

        Raises:
            SettingError: There is no such split, or count or seed is negative.
        """
        if split not in SPLITS:
            raise SettingError(f"split is {split!r}; expected {' or '.join(SPLITS)}")
        if count < 0 or seed < 0:
            raise SettingError(f"count is {count} and seed {seed}; expected 0 or more")
        return self._drive(split, count, seed)

    def _drive(self, split: str, count: int, seed: int) -> Iterator[LabelledFrame]:
        """Yield the frames of one drive."""
        rng = np.random.default_rng([SCENE_NAMES.index(self.name), SPLITS.index(split), seed])
        sensor = Sensor(rng)
        labels = self._label_order(split, rng)
        order = {
            label: rng.permutation(self._glyphs.pool_size(label, split)) for label in self.classes
        }
        passed = dict.fromkeys(self.classes, 0)
        remaining = count
        while remaining > 0:
            label = next(labels)
            index = int(order[label][passed[label] % len(order[label])])
            passed[label] += 1
            sign = paint_sign(self._glyphs.glyph(label, split, index), rng)
            backdrop = paint_backdrop(
                FRAME_HEIGHT_PX + 2 * BACKDROP_MARGIN_PX,
                FRAME_WIDTH_PX + 2 * BACKDROP_MARGIN_PX,
                rng,
            )
            length = int(rng.integers(MIN_APPEARANCE_FRAMES, MAX_APPEARANCE_FRAMES + 1))
            length = min(length, remaining)
            gap = GAP_FRAMES if remaining < count else 0
            views = pan(pick_view(rng), pick_view(rng), gap + length)
            for number, (before, view) in enumerate(pairwise([views[0], *views])):
                in_gap = number < gap
                frame = sensor.expose(
                    backdrop, None if in_gap else sign, view, view.x_px - before.x_px
                )
                yield frame, "" if in_gap else label
            remaining -= length

    def _label_order(self, split: str, rng: np.random.Generator) -> Iterator[str]:
        """Yield labels without end, in turns of random order, never one twice in a row.

        A turn has the labels that only this robot meets twice and the shared ones once, so that
        every class is equally frequent in the whole fleet.
        """
        if split in self.robot_classes:
            met_by = Counter(label for met in self.robot_classes.values() for label in met)
            robots = len(self.robot_classes)
            turn = [
                label
                for label in self.robot_classes[split]
                for _ in range(robots // met_by[label])
            ]
        else:
            turn = list(self.classes)
        last = ""
        while True:
            order = [turn[position] for position in rng.permutation(len(turn))]
            if any(before == label for before, label in pairwise([last, *order])):
                continue
            yield from order
            last = order[-1]
