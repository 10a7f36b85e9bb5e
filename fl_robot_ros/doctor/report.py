"""The findings for people and for scripts."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator
from typing import TextIO

from fl_robot_ros.doctor.examination import Result
from fl_robot_ros.doctor.finding import Level

# Select Graphic Rendition codes of ECMA-48.
_COLOURS = {Level.OK: "32", Level.WARNING: "33", Level.PROBLEM: "31"}
_MARK_WIDTH = max(len(level) for level in Level)
_INDENT = " " * (2 + _MARK_WIDTH + 2)
_FIX = "fix: "


def write_report(
    results: Iterable[Result], out: TextIO, *, width: int | None, has_colour: bool
) -> list[Result]:
    """Write each finding as it comes, and a last line with their number; return them all.

    Args:
        results: The findings.
        out: Where to write.
        width: Columns of the terminal; None: a finding and its fix are one line each.
        has_colour: Whether the marks are coloured.
    """
    section, taken = "", []
    for result in results:
        if result.section != section:
            section = result.section
            print(section, file=out)
        for line in _lines(result, width, has_colour=has_colour):
            print(line, file=out)
        out.flush()
        taken.append(result)
    print(_summary(taken), file=out)
    return taken


def write_json(results: Iterable[Result], out: TextIO) -> list[Result]:
    """Write all findings as one JSON list; return them."""
    taken = list(results)
    json.dump([result._asdict() for result in taken], out, indent=2, ensure_ascii=False)
    out.write("\n")
    return taken


def _lines(result: Result, width: int | None, *, has_colour: bool) -> Iterator[str]:
    """Yield the lines of a finding, the fix below it."""
    mark = result.level.value.ljust(_MARK_WIDTH)
    if has_colour:
        mark = f"\033[{_COLOURS[result.level]}m{mark}\033[0m"
    texts = _wrapped(result.text, _INDENT, width)
    yield f"  {mark}  {next(texts).lstrip()}"
    yield from texts
    if result.fix:
        yield from _wrapped(_FIX + result.fix, _INDENT, width)


def _wrapped(text: str, indent: str, width: int | None) -> Iterator[str]:
    if width is None:
        yield indent + text
        return
    yield from textwrap.wrap(
        text,
        max(width - 1, len(indent) + 20),
        initial_indent=indent,
        # The second line of a fix stands below the first one's text.
        subsequent_indent=indent + " " * (len(_FIX) if text.startswith(_FIX) else 0),
        # Paths and commands are copied.
        break_long_words=False,
        break_on_hyphens=False,
    )


def _summary(results: list[Result]) -> str:
    counts = {level: sum(one.level == level for one in results) for level in Level}
    problems, warnings = counts[Level.PROBLEM], counts[Level.WARNING]
    if not problems and not warnings:
        return "nothing found that is wrong"
    parts = [
        f"{count} {noun}{'s' * (count != 1)}"
        for count, noun in ((problems, "problem"), (warnings, "warning"))
        if count
    ]
    return ", ".join(parts)
