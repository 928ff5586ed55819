"""Rows of CSV text (RFC 4180) with cells of any length, without a change to a setting of the whole process.

Python's `csv` refuses cells of more than `csv.field_size_limit()` characters (131,072), a limit that all threads share.
It is fast, so it is tried first; a text with a longer cell is split here.
"""

import csv
import io
import re
from collections.abc import Iterator

__all__ = ["CsvError", "csv_rows"]

_MAX_CELL_CHARS = 1 << 24
_CELL = re.compile(r'(?:"((?:[^"]|"")*+)"|([^",\r\n]*+))(,|\r\n|\r|\n|\Z)')


class CsvError(Exception):
    """A text that is no CSV: the number of its line, and why."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


def csv_rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a text, each with the number of its last line. CsvError where it is no CSV."""
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    done = 0
    try:
        for row in rows:
            yield rows.line_num, row
            done += 1
        return
    except csv.Error as error:
        if "field limit" not in str(error):
            raise CsvError(rows.line_num, str(error)) from error
    for number, found in enumerate(_split(text)):
        if number >= done:
            yield found


def _split(text: str) -> Iterator[tuple[int, list[str]]]:
    place, line, row = 0, 0, list[str]()
    while place < len(text) or row:
        found = _CELL.match(text, place)
        if found is None:
            raise CsvError(line + 1, "a quotation mark inside a cell, or one that is never closed")
        quoted, plain, end = found.groups()
        cell = plain if quoted is None else quoted.replace('""', '"')
        if len(cell) > _MAX_CELL_CHARS:
            raise CsvError(line + 1, f"a cell of more than {_MAX_CELL_CHARS:,} characters")
        row.append(cell)
        place = found.end()
        line += _lines(quoted or "")
        if end != ",":
            line += 1
            yield line, ([] if row == [""] and quoted is None else row)
            row = []


def _lines(text: str) -> int:
    """How many line ends a quoted cell holds."""
    return text.count("\n") + text.count("\r") - text.count("\r\n")
