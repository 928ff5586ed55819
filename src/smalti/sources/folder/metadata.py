"""Readers of metadata files: rows beside image files, and sidecar files of arrays (see `sidecar`).

Rows are in `metadata.csv`, `.jsonl` or `.parquet`, laid out as in image folders of Hugging Face `datasets`: a column
`file_name` with paths relative to the file of rows, `label`, and further columns. Only scalars are read; columns of
lists and objects are skipped, with a warning.

CSV is RFC 4180, with cells of any length. Python's `csv` refuses cells of more than `csv.field_size_limit()` characters
(131,072), a limit that all threads of a process share. It is fast, so it is tried first; a text with a longer cell is
split here, and the limit stays as it is.
"""

import csv
import io
import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from smalti.errors import SourceError
from smalti.images.batch import Scalar
from smalti.images.columns import Columns
from smalti.images.vocabulary import FILE_NAME
from smalti.sources.folder.sidecar import class_names_name, metadata_name
from smalti.sources.tables.schema import is_scalar
from smalti.sources.tables.table_records import plain_batch, reading_table
from smalti.sources.tables.table_records import scalars_of as table_scalars
from smalti.storage.location import Location, beside, kind_of, name_of, open_binary, redacted

__all__ = [
    "CsvError",
    "MetadataTable",
    "class_names_from",
    "csv_rows",
    "jsonl_columns",
    "read_class_names",
    "read_metadata",
    "scalars_of",
    "sidecar_columns",
]


_MAX_CELL_CHARS = 1 << 24
_CELL = re.compile(r'(?:"((?:[^"]|"")*+)"|([^",\r\n]*+))(,|\r\n|\r|\n|\Z)')


class CsvError(Exception):
    """A text that is no CSV: `line` is the number of the line, the message is the reason."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


def csv_rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a text, each with the number of its last line. CsvError if the text is no CSV."""
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
    position, line, row = 0, 0, list[str]()
    while position < len(text) or row:
        found = _CELL.match(text, position)
        if found is None:
            raise CsvError(line + 1, "a quotation mark inside a cell, or one that is never closed")
        quoted, plain, end = found.groups()
        cell = plain if quoted is None else quoted.replace('""', '"')
        if len(cell) > _MAX_CELL_CHARS:
            raise CsvError(line + 1, f"a cell of more than {_MAX_CELL_CHARS:,} characters")
        row.append(cell)
        position = found.end()
        line += _lines(quoted or "")
        if end != ",":
            line += 1
            yield line, ([] if row == [""] and quoted is None else row)
            row = []


def _lines(text: str) -> int:
    """Count the line ends in a quoted cell."""
    return text.count("\n") + text.count("\r") - text.count("\r\n")


_INTEGER = re.compile(r"0|-?[1-9][0-9]*")  # no leading zeros: 007 is a text, so that its zeros stay
_FLOAT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?(nan|inf(inity)?)", re.IGNORECASE)
_INT64 = range(-(1 << 63), 1 << 63)

_log = logging.getLogger("smalti")


@dataclass(frozen=True)
class MetadataTable:
    """The rows of one file.

    files : the column `file_name`, None where a row has no name
    columns : the other columns, in order, one value per row
    """

    files: Sequence[str | None]
    columns: Mapping[str, Sequence[Scalar | None]]


def read_metadata(location: Location) -> MetadataTable | None:
    """Read a file of rows in the format of its suffix; None if it has no column `file_name`, so has another use.

    Raises SourceError, with the number of the line for texts, if it cannot be read; MissingDependencyError for Parquet
    without pyarrow.
    """
    suffix = str(location).split("?", maxsplit=1)[0].lower().rpartition(".")[2]
    reader: Callable[[BinaryIO, str], dict[str, list[Scalar | None]]] = {
        "csv": _csv_columns,
        "jsonl": jsonl_columns,
        "parquet": _parquet_columns,
    }[suffix]
    try:
        with open_binary(location) as file:
            columns = reader(file, redacted(location))
    except OSError as error:
        raise SourceError(f"{redacted(location)}: cannot be read: {error.strerror or error}") from error
    if FILE_NAME not in columns:
        return None
    return MetadataTable([None if file is None else str(file) for file in columns.pop(FILE_NAME)], columns)


def scalars_of(values: Mapping[str, Any], skipped: set[str]) -> dict[str, Scalar | None]:
    """Return the values that are scalars or None; the names of the others are added to `skipped`."""
    scalars: dict[str, Scalar | None] = {}
    for name, value in values.items():
        if value is None or isinstance(value, bool | int | float) or (isinstance(value, str) and _is_unicode(value)):
            scalars[name] = value
        else:
            skipped.add(name)
    return scalars


def _csv_columns(file: BinaryIO, where: str) -> dict[str, list[Scalar | None]]:
    """Return the columns of a CSV file in UTF-8 with a line of names, typed by `_typed`."""
    try:
        rows = csv_rows(file.read().decode("utf-8-sig"))
        head = [name or f"column {number}" for number, name in enumerate(next(rows, (1, []))[1], 1)]
        if len(set(head)) < len(head):
            raise SourceError(f"{where}: two columns of one name; rename one")
        columns: list[list[str]] = [[] for _ in head]
        for line, row in rows:
            if len(row) > len(head):
                raise SourceError(f"{where}, line {line}: {len(row)} cells under {len(head)} names; correct it")
            if row:
                for cells, cell in zip(columns, [*row, *[""] * (len(head) - len(row))], strict=True):
                    cells.append(cell)
    except CsvError as error:
        raise SourceError(f"{where}, line {error.line}: is no CSV ({error}); write it again") from error
    except UnicodeDecodeError as error:
        raise SourceError(f"{where}: is not UTF-8 ({error.reason}); save it as UTF-8") from error
    return {
        name: list(cells) if name == FILE_NAME else _typed(cells) for name, cells in zip(head, columns, strict=True)
    }


def _typed(cells: Sequence[str]) -> list[Scalar | None]:
    """Return cells as integers if all are, else as floats, else as booleans, else as texts; an empty cell is None."""
    present = [cell for cell in cells if cell]
    convert: Callable[[str], Scalar]
    if all(_is_integer(cell) for cell in present):
        convert = int
    elif all(_FLOAT.fullmatch(cell) for cell in present) and not any(_is_padded(cell) for cell in present):
        convert = float
    elif all(cell.lower() in ("true", "false") for cell in present):
        convert = _is_true
    else:
        convert = str
    return [convert(cell) if cell else None for cell in cells]


def _is_integer(cell: str) -> bool:
    return len(cell) <= 20 and _INTEGER.fullmatch(cell) is not None and int(cell) in _INT64


def _is_padded(cell: str) -> bool:
    """Whether a number is a code, such as 007 or 12345678901234567890123, that a float would change."""
    return cell.lstrip("+-").isdigit() and not _is_integer(cell)


def _is_true(cell: str) -> bool:
    return cell.lower() == "true"


def jsonl_columns(file: BinaryIO, where: str) -> dict[str, list[Scalar | None]]:
    """Return the columns of lines of JSON objects, in order of appearance; SourceError, with the line, for others."""

    def rows() -> Iterator[Mapping[str, Any]]:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise SourceError(f"{where}, line {number}: is no JSON ({error}); correct it") from error
            if not isinstance(row, dict):
                raise SourceError(f"{where}, line {number}: is no JSON object; give one for each image")
            yield row

    return _columns_of(rows(), where)


def _parquet_columns(file: BinaryIO, where: str) -> dict[str, list[Scalar | None]]:
    """Return the columns of a Parquet file; times and decimals become texts."""
    columns: dict[str, list[Scalar | None]] = {}
    skipped: set[str] = set()
    with reading_table(where):
        import pyarrow.parquet as pq  # type: ignore[import-untyped, unused-ignore]  # noqa: PLC0415 (optional)

        for stored in pq.ParquetFile(file).iter_batches(use_threads=False):  # threads do not outlive a fork
            batch = plain_batch(stored)
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                if is_scalar(column.type):
                    columns.setdefault(name, []).extend(table_scalars(column))
                else:
                    skipped.add(name)
    _warn_of_skipped(skipped, where)
    return columns


def _columns_of(rows: Iterable[Mapping[str, Any]], where: str) -> dict[str, list[Scalar | None]]:
    """Return the columns of rows, each of which may lack some; a warning names those that hold no scalars."""
    columns: dict[str, list[Scalar | None]] = {}
    skipped: set[str] = set()
    count = 0
    for count, row in enumerate(rows, 1):
        scalars = scalars_of(row, skipped)
        for name in scalars:
            columns.setdefault(name, [None] * (count - 1))
        for name, values in columns.items():
            values.append(scalars.get(name))
    _warn_of_skipped(skipped, where)
    _warn_of_mixed(columns, where)
    return columns


def _warn_of_mixed(columns: Mapping[str, Sequence[Scalar | None]], where: str) -> None:
    """Warn of columns that become texts, because their values are of several kinds."""
    mixed = [name for name, values in columns.items() if len({_kind(value) for value in values} - {None}) > 1]
    if mixed:
        _log.warning("%s: values of several kinds, which become texts, in %s", where, ", ".join(mixed))


def _kind(value: Scalar | None) -> str | None:
    if value is None:
        return None
    return "text" if isinstance(value, str) else "truth" if isinstance(value, bool) else "number"


def _warn_of_skipped(names: set[str], where: str) -> None:
    if names:
        _log.warning("%s: left out what is no number, text or truth value: %s", where, ", ".join(sorted(names)))


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # JSON can hold halves of characters, which no UTF-8 can
        return False
    return True


def sidecar_columns(location: Location, images: int, labels: NDArray[np.int64] | None) -> Columns:
    """Return the columns of a `.npy` or IDX file: its labels, and those in its sidecar files.

    images : how many images the file holds

    Raises SourceError for a sidecar file that cannot be read, or that does not have one row per image.
    """
    metadata, classes = (beside(location, called(name_of(location))) for called in (metadata_name, class_names_name))
    fields = _fields(metadata, images) if kind_of(metadata) == "file" else {}
    names = _names(fields.pop(FILE_NAME, None), metadata)
    return Columns(labels, names, fields, read_class_names(classes) if kind_of(classes) == "file" else None)


def read_class_names(location: Location) -> tuple[str, ...]:
    """Read class names from a file with a JSON list of strings; SourceError if it is anything else."""
    try:
        with open_binary(location) as file:
            data = file.read()
    except OSError as error:
        raise SourceError(f"{redacted(location)}: cannot be read: {error.strerror or error}") from error
    return class_names_from(data, redacted(location))


def class_names_from(data: bytes, where: str) -> tuple[str, ...]:
    """Parse class names from the bytes of a JSON list of strings; `where` is what messages call the file."""
    try:
        names = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{where}: is no JSON ({error}); correct it, or move it away") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise SourceError(f"{where}: is no list of strings, which class names are; correct it, or move it away")
    return tuple(names)


def _fields(metadata: Location, images: int) -> dict[str, list[Scalar | None]]:
    """Return the columns of a file of rows, None where a row lacks a field."""
    where = redacted(metadata)
    try:
        with open_binary(metadata) as file:
            fields = jsonl_columns(file, where)
    except OSError as error:
        raise SourceError(f"{where}: cannot be read: {error.strerror or error}") from error
    rows = len(next(iter(fields.values()), ()))
    if rows != images:
        raise SourceError(f"{where}: {rows} rows beside {images} images; give one for each, or move it away")
    return fields


def _names(values: list[Scalar | None] | None, metadata: Location) -> tuple[str, ...] | None:
    if values is None:
        return None
    names = tuple(value for value in values if isinstance(value, str))
    if len(names) != len(values):
        raise SourceError(f"{redacted(metadata)}: not every row has a {FILE_NAME} that is a text; give all or none")
    return names
