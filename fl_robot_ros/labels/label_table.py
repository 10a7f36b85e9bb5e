"""The rows of a list, whatever its columns mean."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from fl_robot_ros.errors import LabelError

MAX_FILE_BYTES = 50_000_000


class LabelTable(NamedTuple):
    """A list.

    Attributes:
        columns: Names of the columns, without blanks around them.
        rows: First line number, counted from 1, and cells, one for each column.
    """

    columns: list[str]
    rows: list[tuple[int, list[str]]]


def read_label_table(path: Path) -> LabelTable:
    """Read a list: CSV with a header, or JSON Lines (.jsonl) of objects.

    Raises:
        LabelError: The list is unreadable, or a row has a wrong number of cells; the message
            names the line, but not the file.
    """
    text = read_label_text(path)
    return _read_json_lines(text) if path.suffix.lower() == ".jsonl" else _read_csv(text)


def read_label_text(path: Path) -> str:
    """Read the text of a label file.

    Raises:
        LabelError: The file is unreadable, too large or not UTF-8; the message does not name it.
    """
    try:
        # Reading a pipe would wait for its writer.
        if not path.is_file():
            raise LabelError("is not a file; expected a CSV or YAML file")
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise LabelError(f"cannot be read: {error}") from error
    if len(content) > MAX_FILE_BYTES:
        raise LabelError(f"is too large; expected at most {MAX_FILE_BYTES} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise LabelError(f"line {line}: is not UTF-8 text; save the file as UTF-8") from error


def csv_rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the first line number of each row, counted from 1, and its cells.

    Rows of empty cells, which a spreadsheet may leave, are left out.

    Raises:
        LabelError: The text is not CSV.
    """
    # Without `strict`, an open quote would swallow the rest of the file.
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise LabelError(f"line {line}: is not CSV ({error})") from error


def _read_csv(text: str) -> LabelTable:
    rows = csv_rows(text)
    _, header = next(rows, (1, []))
    columns = [cell.strip() for cell in header]
    if not columns:
        raise LabelError("line 1: nothing there; expected a header, such as filename,label")
    if len(columns) == 1 and re.search("[;\t]", columns[0]):
        raise LabelError(f"the header is {columns[0][:80]!r}; save it with commas between")
    table = LabelTable(columns, [])
    for line, cells in rows:
        if len(cells) < len(columns) or any(cells[len(columns) :]):
            # The rest of a file name with a comma would be taken for the label.
            raise LabelError(
                f"line {line}: {len(cells)} values; expected {len(columns)}, as in the header"
            )
        table.rows.append((line, cells[: len(columns)]))
    return table


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
