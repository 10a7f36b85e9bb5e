"""The rows of a list, before it is known what its columns mean."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from fl_robot_ros.errors import LabelError
from fl_robot_ros.labels.label_file import read_label_text


class LabelTable(NamedTuple):
    """A list.

    Attributes:
        columns: Their names, without blanks around them.
        rows: Line where it begins, counted from 1, and cells, one for each column.
    """

    columns: list[str]
    rows: list[tuple[int, list[str]]]


def read_label_table(path: Path) -> LabelTable:
    """Read a list: CSV with a header, or JSON Lines (.jsonl) of objects.

    Raises:
        LabelError: It cannot be read, or a row has another number of cells than the header; the
            message names the line, but not the file.
    """
    text = read_label_text(path)
    return _read_json_lines(text) if path.suffix.lower() == ".jsonl" else _read_csv(text)


def _read_csv(text: str) -> LabelTable:
    # Not strict, a quote without its end would swallow the rest of the file.
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    columns: list[str] = []
    rows = []
    line = 1
    try:
        for cells in reader:
            # A spreadsheet may leave rows of empty cells.
            if any(cell.strip() for cell in cells):
                if not columns:
                    columns = [cell.strip() for cell in cells]
                    if len(columns) == 1 and re.search("[;\t]", columns[0]):
                        raise LabelError(
                            f"the header is {columns[0][:80]!r}; save it with commas between"
                        )
                elif len(cells) < len(columns) or any(cells[len(columns) :]):
                    # Of a name with a comma in it, the rest would be taken for the label.
                    raise LabelError(
                        f"line {line}: {len(cells)} values; expected {len(columns)}, as in the "
                        f"header"
                    )
                else:
                    rows.append((line, cells[: len(columns)]))
            line = reader.line_num + 1
    except csv.Error as error:
        raise LabelError(f"line {line}: is not CSV ({error})") from error
    if not columns:
        raise LabelError("line 1: nothing there; expected a header, such as filename,label")
    return LabelTable(columns, rows)


def _read_json_lines(text: str) -> LabelTable:
    items = []
    for line, row in enumerate(text.split("\n"), 1):
        if row.strip():
            try:
                item = json.loads(row)
            except (ValueError, RecursionError) as error:
                raise LabelError(f"line {line}: is not JSON ({error})") from error
            if not isinstance(item, dict):
                raise LabelError(f"line {line}: is {row[:40]!r}; expected an object")
            items.append((line, item))
    columns = list(dict.fromkeys(name for _, item in items for name in item))
    rows = [(line, [_json_cell(item.get(name)) for name in columns]) for line, item in items]
    return LabelTable([name.strip() for name in columns], rows)


def _json_cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)
