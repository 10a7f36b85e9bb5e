"""The command `fl_doctor`: its options, its output and its exit codes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fl_robot_ros.cli import doctor
from fl_robot_ros.doctor.finding import Check, Finding, ok, problem, warning


def put_findings(patch: pytest.MonkeyPatch, *findings: Finding) -> None:
    """Have the command find these alone."""
    patch.setattr(doctor, "_checks", lambda _: [Check("disk", "space", lambda: findings)])


@pytest.mark.parametrize(
    ("findings", "code", "end"),
    [
        ([ok("a")], 0, "nothing found that is wrong"),
        ([ok("a"), warning("b", "c")], 0, "1 warning"),
        ([problem("a", "b"), problem("a", "b"), warning("b", "c")], 1, "2 problems, 1 warning"),
    ],
)
def test_only_problems_make_the_exit_code(
    findings: list[Finding],
    code: int,
    end: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    put_findings(monkeypatch, *findings)
    assert doctor.main([]) == code
    assert capsys.readouterr().out.splitlines()[-1] == end
    assert doctor.main(["--json"]) == code
    found = json.loads(capsys.readouterr().out)
    assert [one["level"] for one in found] == [one.level for one in findings]


@pytest.mark.parametrize(
    "arguments",
    [
        "--server nowhere",
        "--namespace a-b",
        "--namespace 1",
        "--seconds 0",
        "--seconds nan",
        "--seconds x",
        "--params=",
        "extra",
    ],
)
def test_a_wrong_command_line_is_told(arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        doctor.main(arguments.split())
    assert exit_.value.code == 2
    assert "usage: fl_doctor" in capsys.readouterr().err


def test_the_help_fits_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        doctor.main(["--help"])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_an_interrupt_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> Iterator[Check]:
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(doctor, "_checks", interrupted)
    assert doctor.main([]) == 130


def test_colours_are_for_terminals_whose_users_want_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put_findings(monkeypatch, ok("a"))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    doctor.main([])
    assert "\033[32mok" in capsys.readouterr().out
    for name, value in (("TERM", "dumb"), ("NO_COLOR", "1")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            doctor.main([])
            assert "\033" not in capsys.readouterr().out


def test_a_reader_that_goes_away_leaves_no_traceback(tmp_path: Path) -> None:
    script = (
        "from fl_robot_ros.cli import doctor; from fl_robot_ros.doctor.finding import Check, ok;"
        "doctor._checks = lambda _: [Check('a', 'b', lambda: [ok('x' * 9999)] * 99)];"
        "raise SystemExit(doctor.main([]))"
    )
    with (tmp_path / "errors").open("wb") as errors:
        child = subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=errors
        )
        assert child.stdout
        child.stdout.close()
        assert child.wait(60) in (0, 1, -signal.SIGPIPE)
    assert (tmp_path / "errors").read_text() == ""
