"""The grammar of the rules, and when a rule holds."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fl_robot_ros.autonomy.reading import Reading
from fl_robot_ros.autonomy.rule_check import RuleCheck
from fl_robot_ros.autonomy.rules import QUANTITIES, STATES, LearningRules, parse_rule
from fl_robot_ros.config import ClientSettings
from fl_robot_ros.errors import SettingError

QUANTITY = st.builds(
    "{} {} {}".format,
    st.sampled_from(sorted(QUANTITIES)),
    st.sampled_from([">=", "<="]),
    st.sampled_from(["0", "0.5", "1", "0.25"]),
)
TIME = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.integers(0, 59))
CLOCK = st.lists(TIME, min_size=2, max_size=2, unique=True).map(
    lambda t: f"clock in {t[0]}-{t[1]}"
)
STATE = st.sampled_from(["charging", "still", "no_goal", "topic fl/may_learn"])
DURATION = st.one_of(st.just(""), st.integers(0, 86400).map(lambda s: f" for {s} s"))
RULE = st.builds("{}{}".format, st.one_of(QUANTITY, CLOCK, STATE), DURATION)
# Rules, and lists of the words of rules and of others in any order.
WORDS = st.lists(
    st.sampled_from(["battery", "charging", "clock", "topic", "still", "in", "for", ">=", "<="])
    | st.sampled_from(["s", "5", "-1", "1e3", "nan", "0.4", "22:00-05:00", "22:00-22:00", "x"])
    | st.text(max_size=6),
    max_size=7,
).map(" ".join)


@given(RULE)
def test_what_is_parsed_prints_back_to_itself(text: str) -> None:
    rule = parse_rule(text.replace(" ", "  "))
    assert str(rule) == text
    assert parse_rule(str(rule)) == rule


@given(WORDS | st.text(max_size=40))
def test_anything_else_is_refused_in_one_line(text: str) -> None:
    message = ""
    try:
        assert str(parse_rule(text)) == " ".join(text.split())
    except SettingError as error:
        message = str(error)
    assert not message or (message.startswith("rule ") and ", expected " in message)
    assert message.isprintable()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "at its end, expected a signal: charging, still, no_goal, battery, "),
        ("batery >= 0.4", "at 'batery', expected a signal"),
        ("battery > 0.4", "at '>', expected '>=' or '<=' behind 'battery'"),
        ("battery >= 40", "at '40', expected a number from 0 to 1"),
        ("battery >= 40%", "at '40%', expected a number from 0 to 1"),
        ("temperature <=", "at its end, expected a number from -50 to 150"),
        ("clock 22:00-05:00", "at '22:00-05:00', expected 'in' behind 'clock'"),
        ("clock in 22:00-24:00", "at '22:00-24:00', expected two different times of day"),
        ("clock in 22:00-22:00", "expected two different times of day from 00:00 to 23:59"),
        ("charging 30 s", "at '30', expected 'for', or the end of the rule"),
        ("charging for 30", "at its end, expected 's' behind the number of seconds"),
        ("charging for 5 min", "at 'min', expected 's' behind the number of seconds"),
        ("charging for -1 s", "at '-1', expected a number of seconds from 0 to 86400"),
        ("still for 60 s now", "at 'now', expected the end of the rule"),
        ("topic", "at its end, expected the name of a topic of std_msgs/Bool"),
    ],
)
def test_an_invalid_rule_names_the_word_and_what_was_expected(text: str, message: str) -> None:
    with pytest.raises(SettingError, match="rule ") as caught:
        parse_rule(text)
    assert message in str(caught.value)


def test_the_setting_of_an_invalid_rule_is_named() -> None:
    with pytest.raises(SettingError, match="learn_while: rule 'battery': at its end"):
        LearningRules.from_settings(ClientSettings(learn_while=("battery",)))
    with pytest.raises(SettingError, match="learn is 'auto', and learn_when is empty"):
        LearningRules.from_settings(ClientSettings(learn="auto", learn_while=("charging",)))
    with pytest.raises(SettingError, match="action_names is empty, and the rule 'no_goal' needs"):
        LearningRules.from_settings(ClientSettings(learn_while=("no_goal",), action_names=()))
    assert LearningRules.from_settings(ClientSettings()) == LearningRules()


@pytest.mark.parametrize(
    ("window", "inside", "outside"),
    [
        ("22:00-05:00", ["22:00", "23:59", "00:00", "04:59"], ["05:00", "21:59", "12:00"]),
        ("09:00-17:30", ["09:00", "17:29"], ["17:30", "08:59", "00:00"]),
        ("20:00-00:00", ["20:00", "23:59"], ["00:00", "19:59"]),
    ],
)
def test_the_clock_goes_over_midnight(window: str, inside: list[str], outside: list[str]) -> None:
    rule = parse_rule(f"clock in {window}")
    minutes = {time: int(time[:2]) * 60 + int(time[3:]) for time in inside + outside}
    assert [time for time in minutes if rule.is_met(minutes[time])] == inside


def holds(check: RuleCheck, value: float, now: float, *, learning: bool = False) -> bool:
    return check.check(Reading(value, f"{value:g}"), now, while_learning=learning).holds


def test_a_battery_may_fall_by_its_margin_while_the_robot_learns() -> None:
    check = RuleCheck(parse_rule("battery >= 0.4"))
    assert not holds(check, 0.39, 0.0)
    assert not holds(check, 0.39, 1.0, learning=True)  # it never held
    assert holds(check, 0.4, 2.0)
    assert holds(check, 0.36, 3.0, learning=True)
    # Below the margin it breaks after a second, and only 0.4 lets it begin again.
    assert holds(check, 0.34, 4.0, learning=True)
    assert holds(check, 0.36, 4.5, learning=True)
    assert holds(check, 0.34, 5.0, learning=True)
    assert holds(check, 0.34, 5.9, learning=True)
    assert not holds(check, 0.34, 6.0, learning=True)
    assert not holds(check, 0.36, 7.0, learning=True)
    assert holds(check, 0.41, 8.0, learning=True)
    assert not holds(check, 0.36, 9.0)  # a run that is over has no margin


def test_a_temperature_may_rise_by_its_margin_while_the_robot_learns() -> None:
    check = RuleCheck(parse_rule("temperature <= 80"))
    assert holds(check, 79.0, 0.0)
    assert holds(check, 83.0, 1.0, learning=True)
    assert holds(check, 83.1, 2.0, learning=True)
    assert not holds(check, 83.1, 3.0, learning=True)


@pytest.mark.parametrize("text", ["still", "no_goal", "topic fl/may_learn"])
def test_an_urgent_rule_breaks_at_once_and_others_after_a_second(text: str) -> None:
    urgent, other = RuleCheck(parse_rule(text)), RuleCheck(parse_rule("charging"))
    for check in (urgent, other):
        assert holds(check, 1, 0.0)
    assert not holds(urgent, 0, 1.0, learning=True)
    assert holds(other, 0, 1.0, learning=True)
    assert not holds(other, 0, 2.0, learning=True)


def test_an_interruption_between_two_readings_counts() -> None:
    check = RuleCheck(parse_rule("still for 60 s"))
    assert not holds(check, 1, 0.0)
    assert holds(check, 1, 60.0)
    moved = check.check(Reading(1, "still", since=60.5), 61.0, while_learning=True)
    assert not moved.holds
    assert moved.reason == "still for 0 s, needs still for 60 s"
    assert check.check(Reading(1, "still", since=60.5), 120.5, while_learning=True).holds


@pytest.mark.parametrize(
    ("rule", "reading", "reason"),
    [
        ("battery >= 0.4", Reading(0.31, "0.31"), "battery 0.31, needs >= 0.4"),
        (
            "battery >= 0.4 for 9 s",
            Reading(0.5, "0.50"),
            "battery 0.50 for 0 s, needs >= 0.4 for 9 s",
        ),
        ("charging for 30 s", Reading(0, "discharging"), "discharging, needs charging for 30 s"),
        ("still", Reading(0, "moving on /cmd_vel"), "moving on /cmd_vel, needs still"),
        (
            "charging",
            Reading.unknown("no message on /b for 12 s"),
            "charging unknown: no message on /b for 12 s, needs charging",
        ),
        (
            "battery >= 0.4",
            Reading(math.nan, "nan"),
            "battery unknown: it is not a number, needs >= 0.4",
        ),
        ("clock in 22:00-05:00", Reading(842, "14:02"), "clock 14:02, needs in 22:00-05:00"),
        (
            "topic fl/go",
            Reading.unknown("no message yet"),
            "fl/go unknown: no message yet, needs topic fl/go",
        ),
    ],
)
def test_the_reason_has_the_rule_and_the_measured_value(
    rule: str, reading: Reading, reason: str
) -> None:
    found = RuleCheck(parse_rule(rule)).check(reading, 0.0, while_learning=False)
    assert not found.holds
    assert found.reason == reason


STEPS = st.lists(
    st.tuples(
        st.floats(0.0, 5.0),  # seconds since the step before
        st.one_of(st.none(), st.just(math.nan), st.sampled_from([0.0, 0.2, 0.36, 0.4, 1.0])),
        st.booleans(),  # while learning
    ),
    max_size=40,
)


@given(RULE, STEPS)
def test_no_rule_holds_on_what_is_unknown(
    text: str, steps: list[tuple[float, float | None, bool]]
) -> None:
    check, now = RuleCheck(parse_rule(text)), 0.0
    for seconds, value, learning in steps:
        now += seconds
        found = check.check(Reading(value, "?"), now, while_learning=learning)
        assert not (found.holds and (value is None or math.isnan(value)))


@given(RULE, STEPS)
def test_a_rule_never_begins_to_hold_early(
    text: str, steps: list[tuple[float, float | None, bool]]
) -> None:
    check, now, held, met_since = RuleCheck(parse_rule(text)), 0.0, False, None
    for seconds, value, learning in steps:
        now += seconds
        is_met = value is not None and not math.isnan(value) and check.rule.is_met(value)
        met_since = (now if met_since is None else met_since) if is_met else None
        found = check.check(Reading(value, "?"), now, while_learning=learning)
        if found.holds and not held:
            assert met_since is not None
            assert now - met_since >= check.rule.for_sec
        # Outside of a run nothing is forgiven.
        assert learning or found.holds <= is_met
        held = found.holds


def test_the_rules_of_the_documentation_are_rules() -> None:
    page = (Path(__file__).parents[3] / "docs" / "autonomy.md").read_text(encoding="utf-8")
    example = yaml.safe_load(page.partition("```yaml\n")[2].partition("```")[0])
    settings = example["/**/fl_client"]["ros__parameters"]
    assert len(LearningRules.from_settings(ClientSettings(**settings)).to_go_on) == 4
    table = re.findall(r"^\| `([^`]+)` \| ", page, re.MULTILINE)
    rules = [parse_rule(text) for text in table if len(text) > 1]
    assert {rule.signal for rule in rules} == {*STATES, *QUANTITIES, "clock", "topic"}
