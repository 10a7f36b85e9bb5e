"""The order in which robots get a model: one, then a fifth of them, then all.

Each robot tries the model on its own held-out images before it uses it. Those with the most of
them judge best, and are asked first. A release that robots refuse is halted: by two robots at
least, and more than took the model, since one robot with few images refuses a good model now and
then.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

_SECOND_WAVE = 0.2
# So few robots get a model at once: their refusals could not halt anything.
_AT_ONCE = 2
_MIN_REFUSALS = 2


class DeliveryWaves:
    """The waves of one delivery.

    Attributes:
        waiting: Flower's numbers of the robots that were not asked yet, in the order of asking.
        taken: How many robots took the model.
        refused: How many did not, whether their check refused it or they did not reply.
    """

    def __init__(
        self, robots: Collection[int], held_out: Mapping[int, int], silent: Collection[int] = ()
    ) -> None:
        """Ask nobody yet.

        Args:
            robots: Flower's numbers of the robots.
            held_out: Their held-out images, where they are known.
            silent: Robots that did not reply of late; they come last.
        """
        self.waiting = sorted(
            robots, key=lambda robot: (robot in silent, -held_out.get(robot, 0), robot)
        )
        self.taken = self.refused = 0
        self._robots = len(self.waiting)

    @property
    def is_halted(self) -> bool:
        """Whether no further robot gets the model although some wait."""
        is_refused = self.refused >= _MIN_REFUSALS and self.refused > self.taken
        return is_refused and bool(self.waiting)

    def next(self) -> Sequence[int]:
        """Return the robots of the next wave, none at the end."""
        size = 0 if self.is_halted else self._size()
        wave, self.waiting = self.waiting[:size], self.waiting[size:]
        return wave

    def note(self, taken: int, refused: int) -> None:
        """Note what the robots of a wave did with the model."""
        self.taken += taken
        self.refused += refused

    def _size(self) -> int:
        asked = self.taken + self.refused
        second = math.ceil(_SECOND_WAVE * self._robots)
        if self._robots <= _AT_ONCE:
            return self._robots
        if asked == 0 or self.refused > self.taken:
            return 1
        return second - asked if asked < second else self._robots
