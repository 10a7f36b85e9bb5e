"""Reads label files, which give labels by ranges of time: CSV and YAML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from fl_robot_ros.errors import LabelError
from fl_robot_ros.labels.label_table import csv_rows, read_label_text
from fl_robot_ros.labels.label_text import clean_label
from fl_robot_ros.labels.label_time import RELATIVE_LIMIT_SEC, parse_label_time

# A label for each frame of a day at 5 Hz makes 432,000 ranges.
MAX_RANGES = 500_000

_YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NEEDED_KEYS = ("start", "end", "label")
_KEYS = (*_NEEDED_KEYS, "topic")
_EXPECTED_KEYS = "expected start, end, label and, if need be, topic"
_YAML_NULL = ("~", "null", "Null", "NULL")
_SHOWN_CHARACTERS = 40


class LabelRange(NamedTuple):
    """A label for a range of capture times.

    Attributes:
        start_ns: Its beginning, inclusive, in ns.
        end_ns: Its end, exclusive, in ns.
        label: The label in its clean form; "": frames in the range have no label.
        topic: Name of its topic, without "/" around it; "": all topics.
        line: Its first line in the file, counted from 1; 0: not from a file.
    """

    start_ns: int
    end_ns: int
    label: str
    topic: str = ""
    line: int = 0


class LabelFile(NamedTuple):
    """Content of a label file.

    Attributes:
        ranges: Its ranges, in the order of the file.
        is_relative: Whether times count from the start of the recording instead of the epoch.
    """

    ranges: list[LabelRange]
    is_relative: bool


def read_label_file(path: Path) -> LabelFile:
    """Read the ranges of a label file; see `LabelRanges` for the format.

    Raises:
        LabelError: The file is unreadable or has an invalid row; the message names the line, but
            not the file.
    """
    parse = _csv_rows if path.suffix.lower() == ".csv" else _yaml_rows
    ranges: list[LabelRange] = []
    # First line with relative times, and with absolute ones.
    kinds: dict[bool, int] = {}
    for line, row in parse(read_label_text(path)):
        if len(ranges) == MAX_RANGES:
            raise LabelError(f"line {line}: too many labels; expected at most {MAX_RANGES}")
        try:
            ranges.append(_range(line, row, kinds))
        except LabelError as error:
            raise LabelError(f"line {line}: {error}") from error
    return LabelFile(ranges, True in kinds)


def _csv_rows(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the first line number of each row, and its texts by column."""
    rows = csv_rows(text)
    first = next(rows, None)
    if first is None:
        raise LabelError("line 1: nothing there; expected the header start,end,label")
    columns = _columns(*first)
    for line, row in rows:
        if len(row) != len(columns):
            raise LabelError(
                f"line {line}: {len(row)} values; expected {len(columns)}, for {','.join(columns)}"
            )
        yield line, dict(zip(columns, row, strict=True))


def _columns(line: int, row: list[str]) -> list[str]:
    columns = [cell.strip().lower() for cell in row]
    is_fit = set(_NEEDED_KEYS) <= set(columns) <= set(_KEYS)
    if not is_fit or len(set(columns)) < len(columns):
        header = _shown(",".join(row))
        raise LabelError(
            f"line {line}: the header is {header}; expected start,end,label or "
            f"start,end,label,topic"
        )
    return columns


def _yaml_rows(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the first line number of each mapping, and its texts by key.

    Reading the parser's events instead of a loaded document keeps times exact, labels such as
    "no" text and line numbers known, and bounds the memory: nesting and aliases are refused.
    """
    is_list = False
    row: dict[str, str] | None = None
    key: str | None = None
    row_line = line = 1
    try:
        for event in yaml.parse(text, Loader=_YAML_LOADER):
            line = _line(event.start_mark)
            if isinstance(event, yaml.ScalarEvent) and row is not None:
                if key is None:
                    key = event.value
                    _check_key(line, key, row)
                else:
                    is_plain_null = event.implicit[0] and event.value in _YAML_NULL
                    row[key] = "" if is_plain_null else event.value
                    key = None
            elif isinstance(event, yaml.MappingStartEvent) and is_list and row is None:
                row = {}
                row_line = line
            elif isinstance(event, yaml.MappingEndEvent) and row is not None:
                yield row_line, row
                row = None
            elif isinstance(event, yaml.SequenceStartEvent) and not is_list:
                is_list = True
            elif not _is_outer(event, is_list) or row is not None:
                raise LabelError(
                    f"line {line}: {_yaml_name(event)} is out of place; expected one list of "
                    f"mappings such as {{start: 12.5, end: 20, label: pallet}}"
                )
    # Numbers out of range in escapes and versions raise plain Python errors.
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        line = _line(getattr(error, "problem_mark", None)) or line
        problem = getattr(error, "problem", None) or str(error)
        raise LabelError(f"line {line}: is not YAML ({problem})") from error
    if not is_list:
        raise LabelError("line 1: nothing there; expected a list of mappings")


def _check_key(line: int, key: str, row: Mapping[str, str]) -> None:
    if key not in _KEYS:
        raise LabelError(f"line {line}: unknown key {_shown(key)}; {_EXPECTED_KEYS}")
    if key in row:
        raise LabelError(f"line {line}: {key} is there twice; {_EXPECTED_KEYS}")


def _is_outer(event: yaml.Event, is_list: bool) -> bool:
    """Say whether a YAML event belongs to the one document or to the list around the mappings."""
    if isinstance(event, yaml.DocumentStartEvent):
        return not is_list
    return isinstance(
        event,
        (
            yaml.StreamStartEvent,
            yaml.StreamEndEvent,
            yaml.DocumentEndEvent,
            yaml.SequenceEndEvent,
        ),
    )


def _line(mark: Any) -> int:
    """Return the line number of a YAML mark, 0 for no mark."""
    return 0 if mark is None else int(mark.line) + 1


def _yaml_name(event: yaml.Event) -> str:
    if isinstance(event, yaml.ScalarEvent):
        return _shown(event.value)
    names = {
        yaml.AliasEvent: "an alias",
        yaml.DocumentStartEvent: "a second document",
        yaml.MappingStartEvent: "a mapping",
        yaml.SequenceStartEvent: "a list",
    }
    return names.get(type(event), type(event).__name__)


def _range(line: int, row: Mapping[str, str], kinds: dict[bool, int]) -> LabelRange:
    """Return the range of a row; check that its times are of the same kind as those before."""
    for key in _NEEDED_KEYS:
        if key not in row:
            raise LabelError(f"{key} is missing; {_EXPECTED_KEYS}")
    times = []
    for key in ("start", "end"):
        try:
            time_ns, is_relative = parse_label_time(row[key])
        except LabelError as error:
            raise LabelError(f"{key} is {error}") from error
        kinds.setdefault(is_relative, line)
        if len(kinds) > 1:
            raise LabelError(
                f"{key} is {_shown(row[key])}, but line {kinds[not is_relative]} has another "
                f"kind of time; expected all times since the epoch, or all below "
                f"{RELATIVE_LIMIT_SEC} s, since the beginning of the recording"
            )
        times.append(time_ns)
    start_ns, end_ns = times
    if start_ns >= end_ns:
        raise LabelError(
            f"end is {_shown(row['end'])}; expected a time after start, {_shown(row['start'])}"
        )
    topic = row.get("topic", "").strip()
    name = topic.strip("/")
    if (topic and not name) or not name.isprintable() or " " in name:
        raise LabelError(f"topic is {_shown(topic)}; expected the name of a topic")
    return LabelRange(start_ns, end_ns, clean_label(row["label"]), name, line)


def _shown(text: str) -> str:
    return repr(text[:_SHOWN_CHARACTERS])
