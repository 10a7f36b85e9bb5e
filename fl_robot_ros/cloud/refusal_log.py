"""Lines to the operator about refused connections, few of them however many there are."""

from __future__ import annotations

import time
from collections.abc import Callable

# The same refusal of the same robot is said once in this time.
_REPEAT_SEC = 60.0
# Lines in that time about everybody together.
_MOST = 20


class RefusalLog:
    """Says each refusal once a minute. Not for several threads at once."""

    def __init__(
        self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Take the function that prints a line, and one that returns the time in s."""
        self._say = say
        self._clock = clock
        self._said: dict[tuple[str, str], float] = {}
        self._left_out = 0

    def add(self, who: str, kind: str, reason: str) -> None:
        """Say a refusal, unless it was said a moment ago.

        Args:
            who: The robot, or the address of one that is not known.
            kind: What tells this refusal from others of the same robot.
            reason: Why, for a person.
        """
        now = self._clock()
        self._said = {key: at for key, at in self._said.items() if now - at < _REPEAT_SEC}
        if (who, kind) in self._said:
            return
        if len(self._said) >= _MOST:
            self._left_out += 1
            return
        more = f" ({self._left_out} refusals were not shown)" if self._left_out else ""
        self._left_out = 0
        self._said[who, kind] = now
        self._say(f"refused {who}: {reason}{more}")
