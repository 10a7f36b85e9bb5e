"""Whatever a check does, it ends as findings: in time, in order, each in one line."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from fl_robot_ros.doctor.child_process import kill_children, run_child
from fl_robot_ros.doctor.examination import Result, examine
from fl_robot_ros.doctor.finding import Check, Finding, Level, ok, problem, split, warning
from fl_robot_ros.doctor.report import write_json, write_report
from fl_robot_ros.errors import SettingError


def failing(error: Exception) -> Check:
    def find() -> Iterator[Finding]:
        yield ok("what was found before stays")
        raise error

    return Check("a", "failing", find)


@pytest.mark.parametrize(
    ("error", "level", "text", "fix"),
    [
        (SettingError("port is 0; expected 1 or more"), "problem", "port is 0", "expected 1 or"),
        (ModuleNotFoundError("x", name="yaml"), "warning", "PyYAML is not installed", "install"),
        (OSError(5, "Input/output error", "/data"), "problem", "Input/output error: '/data'", ""),
        (subprocess.TimeoutExpired("x", 7.0), "problem", "did not end within 7 s", "overloaded"),
        (ZeroDivisionError("a\nb"), "warning", "ZeroDivisionError: a b", "maintainers"),
    ],
)
def test_a_check_that_fails_is_a_finding(
    error: Exception, level: str, text: str, fix: str
) -> None:
    first, second, last = examine([failing(error), Check("b", "next", lambda: [ok("fine")])])
    assert first.text == "what was found before stays"
    assert second.level == level
    assert text in second.text
    assert fix in second.fix
    assert last == ("b", "next", "ok", "fine", "")


def test_a_check_that_hangs_holds_up_no_other() -> None:
    is_over = threading.Event()

    def hang() -> list[Finding]:
        is_over.wait()
        return []

    checks = [Check("a", "hanging", hang, 0.05), Check("a", "next", lambda: [ok("fine")])]
    hanging, following = examine(checks)
    is_over.set()
    assert hanging.level == Level.PROBLEM
    assert hanging.text == "the check 'hanging' did not end within 0.05 s"
    assert following.text == "fine"


def test_what_comes_from_elsewhere_stays_one_line() -> None:
    [found] = examine([Check("a", "b", lambda: [warning("one\n\x1b[2Jtwo", "x\ty")])])
    assert (found.text, found.fix) == ("one  [2Jtwo", "x y")


@pytest.mark.parametrize(
    ("line", "text", "fix"),
    [
        ("a is 1; expected 2; see b", "a is 1", "expected 2; see b"),
        ("there is no TLS: set enrolment to a file", "there is no TLS", "set enrolment to a file"),
        ("nothing to be done", "nothing to be done", ""),
    ],
)
def test_the_fix_in_a_line_is_found(line: str, text: str, fix: str) -> None:
    assert split(Level.WARNING, line) == Finding(Level.WARNING, text, fix)


def test_a_child_that_hangs_is_killed() -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        run_child([sys.executable, "-c", "import time; time.sleep(1000)"], 0.5)
    kill_children()


RESULTS = [
    Result("disk", "space", Level.OK, "room enough", ""),
    Result("disk", "data_dir", Level.PROBLEM, "word " * 30, "sudo chown -R $USER /a/" + "b" * 90),
    Result("server", "connection", Level.WARNING, "no name", "name it"),
]


def report(*results: Result, width: int | None = None, has_colour: bool = False) -> list[str]:
    out = io.StringIO()
    write_report(results, out, width=width, has_colour=has_colour)
    return out.getvalue().splitlines()


def test_a_terminal_gets_lines_that_fit_and_commands_in_one_piece() -> None:
    lines = report(*RESULTS, width=80)
    assert [line for line in lines if len(line) >= 80] == [" " * 16 + "/a/" + "b" * 90]
    assert lines[0] == "disk"
    assert lines[1] == "  ok       room enough"
    assert lines[2].startswith("  problem  word word")
    assert lines[3].startswith("           word word")
    assert lines[-1] == "1 problem, 1 warning"


def test_a_pipe_gets_each_finding_and_each_fix_in_a_line() -> None:
    lines = report(*RESULTS)
    assert len(lines) == 2 + 3 + 2 + 1
    assert lines[3] == "           fix: sudo chown -R $USER /a/" + "b" * 90
    assert report(RESULTS[0])[-1] == "nothing found that is wrong"
    assert "\033" not in "".join(lines)


def test_colours_change_nothing_but_the_mark() -> None:
    coloured = report(RESULTS[2], has_colour=True)
    assert coloured[1] == "  \033[33mwarning\033[0m  no name"


def test_scripts_get_a_list_of_objects() -> None:
    out = io.StringIO()
    write_json([RESULTS[2], Result("a", "b", Level.PROBLEM, *astuple(problem("ü", "x")))], out)
    assert json.loads(out.getvalue())[0] == {
        "section": "server",
        "check": "connection",
        "level": "warning",
        "text": "no name",
        "fix": "name it",
    }


def astuple(finding: Finding) -> tuple[str, str]:
    return finding.text, finding.fix
