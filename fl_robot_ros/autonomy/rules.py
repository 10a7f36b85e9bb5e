"""The rules of learning: one line each, read strictly.

    charging | still | no_goal                                          a state is on
    battery | temperature | free_memory_mb | free_disk_mb |
    new_samples | hours_since_run       >= NUMBER or <= NUMBER          a number has a limit
    clock in HH:MM-HH:MM                                                the local time of day
    topic NAME                                                          a std_msgs/Bool is true

Behind each of them, `for NUMBER s`: without an interruption for so long.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from fl_robot_ros.config import ClientSettings
from fl_robot_ros.errors import SettingError

AT_LEAST, AT_MOST = ">=", "<="
STATES = ("charging", "still", "no_goal")

_LONGEST_SEC = 86400.0


class Quantity(NamedTuple):
    """A number that a rule limits: its range, and how far it may pass a limit while learning."""

    minimum: float
    maximum: float
    margin: float = 0.0


QUANTITIES = {
    "battery": Quantity(0.0, 1.0, margin=0.05),
    "temperature": Quantity(-50.0, 150.0, margin=3.0),  # °C
    "free_memory_mb": Quantity(0.0, 1e9),
    "free_disk_mb": Quantity(0.0, 1e9),
    "new_samples": Quantity(0.0, 1e9),
    "hours_since_run": Quantity(0.0, 1e6),
}
_SIGNALS = (*STATES, *QUANTITIES, "clock", "topic")


@dataclass(frozen=True)
class Rule:
    """One rule; its text is the one that was read, with single spaces.

    Attributes:
        text: The rule as it was written.
        signal: The name of its signal, the first word.
        operator: AT_LEAST or AT_MOST of a number, else "".
        limit: The number's limit.
        window: First and last minute of the day of `clock`, the last one exclusive.
        topic: The name behind `topic`.
        for_sec: How long it must hold without an interruption, in s.
    """

    text: str
    signal: str
    operator: str = ""
    limit: float = 0.0
    window: tuple[int, int] = (0, 0)
    topic: str = ""
    for_sec: float = 0.0

    def __str__(self) -> str:
        return self.text

    @property
    def requirement(self) -> str:
        """The rule without the name of its signal where that stands before a value."""
        is_state = self.signal in STATES or self.signal == "topic"
        return self.text if is_state else self.text.partition(" ")[2]

    @property
    def is_urgent(self) -> bool:
        """Whether learning stops at once, and not after a second, when it breaks."""
        return self.signal in ("still", "no_goal", "topic")

    def is_met(self, value: float, *, while_learning: bool = False) -> bool:
        """Say whether a known value meets the rule, its duration aside.

        Args:
            value: The number, the minute of the day, or 1 for a state that is on.
            while_learning: Allow battery and temperature their margin beyond the limit.
        """
        if self.signal in QUANTITIES:
            margin = QUANTITIES[self.signal].margin if while_learning else 0.0
            if self.operator == AT_LEAST:
                return value >= self.limit - margin
            return value <= self.limit + margin
        if self.signal == "clock":
            begin, end = self.window
            if begin < end:
                return begin <= value < end
            return value >= begin or value < end
        return value == 1


@dataclass(frozen=True)
class LearningRules:
    """The rules of a robot.

    Attributes:
        to_begin: What must hold, besides `to_go_on`, for the robot to begin by itself.
        to_go_on: What must hold to begin and to go on.
    """

    to_begin: tuple[Rule, ...] = ()
    to_go_on: tuple[Rule, ...] = ()

    @classmethod
    def from_settings(cls, settings: ClientSettings) -> LearningRules:
        """Read `learn_when` and `learn_while`.

        Raises:
            SettingError: A rule is invalid or has no topic to read, or a robot that shall learn by
                itself has none.
        """
        rules = cls(
            _parse_all("learn_when", settings.learn_when),
            _parse_all("learn_while", settings.learn_while),
        )
        if settings.learn != "off":
            for name in ("learn_when", "learn_while"):
                if not getattr(settings, name):
                    raise SettingError(
                        f"learn is {settings.learn!r}, and {name} is empty; expected one rule or "
                        "more in learn_when and in learn_while, see docs/autonomy.md"
                    )
        signals = {rule.signal for rule in (*rules.to_begin, *rules.to_go_on)}
        for signal, name in (("still", "motion_topics"), ("no_goal", "action_names")):
            if signal in signals and not getattr(settings, name):
                raise SettingError(f"{name} is empty, and the rule {signal!r} needs one or more")
        return rules


def parse_rule(text: str) -> Rule:
    """Read one rule.

    Raises:
        SettingError: It is none; the message names the word and what was expected.
    """
    words = text.split()
    reader = _Words(text, words)
    signal = reader.take(f"a signal: {', '.join(_SIGNALS)}", _SIGNALS)
    operator, limit, window, topic, for_sec = "", 0.0, (0, 0), "", 0.0
    if signal in QUANTITIES:
        span = QUANTITIES[signal]
        operator = reader.take(
            f"'{AT_LEAST}' or '{AT_MOST}' behind '{signal}'", (AT_LEAST, AT_MOST)
        )
        limit = reader.number(f"a number from {span.minimum:g} to {span.maximum:.15g}", span)
    elif signal == "clock":
        reader.take("'in' behind 'clock'", ("in",))
        window = reader.window()
    elif signal == "topic":
        topic = reader.take("the name of a topic of std_msgs/Bool")
    if reader.is_left:
        reader.take("'for', or the end of the rule", ("for",))
        span = Quantity(0.0, _LONGEST_SEC)
        for_sec = reader.number(f"a number of seconds from 0 to {_LONGEST_SEC:.0f}", span)
        reader.take("'s' behind the number of seconds", ("s",))
    if reader.is_left:
        raise reader.error("the end of the rule")
    return Rule(" ".join(words), signal, operator, limit, window, topic, for_sec)


class _Words:
    """The words of a rule, taken one after another."""

    def __init__(self, text: str, words: list[str]) -> None:
        self._text = text
        self._words = words
        self._next = 0

    @property
    def is_left(self) -> bool:
        """Whether there are more words."""
        return self._next < len(self._words)

    def error(self, expected: str, at: int | None = None) -> SettingError:
        """Return the error at the next word, or at one taken before."""
        number = self._next if at is None else at
        found = repr(self._words[number]) if number < len(self._words) else "its end"
        return SettingError(f"rule {self._text!r}: at {found}, expected {expected}")

    def take(self, expected: str, choices: Iterable[str] | None = None) -> str:
        """Return the next word, one of the choices if there are any."""
        if not self.is_left or (choices is not None and self._words[self._next] not in choices):
            raise self.error(expected)
        self._next += 1
        return self._words[self._next - 1]

    def number(self, expected: str, span: Quantity) -> float:
        """Return the next word as a number in a range."""
        word = self.take(expected)
        is_number = re.fullmatch(r"-?[0-9]{1,12}(\.[0-9]{1,12})?", word)
        if not is_number or not span.minimum <= float(word) <= span.maximum:
            raise self.error(expected, self._next - 1)
        return float(word)

    def window(self) -> tuple[int, int]:
        """Return the next word, HH:MM-HH:MM, as two different minutes of the day."""
        expected = "two different times of day from 00:00 to 23:59, as in 22:00-05:00"
        word = self.take(expected)
        time = "([01][0-9]|2[0-3]):([0-5][0-9])"
        found = re.fullmatch(f"{time}-{time}", word)
        if not found or found.groups()[:2] == found.groups()[2:]:
            raise self.error(expected, self._next - 1)
        begin_h, begin_min, end_h, end_min = map(int, found.groups())
        return begin_h * 60 + begin_min, end_h * 60 + end_min


def _parse_all(name: str, texts: Iterable[str]) -> tuple[Rule, ...]:
    """Read the rules of a setting."""
    rules = []
    for text in texts:
        try:
            rules.append(parse_rule(text))
        except SettingError as error:
            raise SettingError(f"{name}: {error}") from error
    return tuple(rules)
