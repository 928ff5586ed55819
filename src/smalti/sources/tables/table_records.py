"""The rows of tables as records, and Arrow's cells as plain values: images, labels, names and fields.

A `TablePart` reads rows from where they are stored (Parquet, files of Arrow, an object of `datasets`). Which column has
which role, `schema` decides. Arrow's errors become SourceErrors.
"""

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from smalti.errors import SourceError
from smalti.images.batch import Scalar, SkippedFile
from smalti.images.vocabulary import SPLIT_FIELD
from smalti.sources.records.record import EntryData, Record, Unreadable
from smalti.sources.tables.schema import classes_in, columns_of, is_nested, is_text, plain_type, pyarrow_for
from smalti.storage.location import Location, is_url

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]

__all__ = [
    "BATCH_BYTES",
    "TablePart",
    "TableRecords",
    "file_below",
    "pixels_of",
    "plain_batch",
    "reading_table",
    "relative_name",
    "scalars_of",
]


@contextmanager
def reading_table(where: str) -> Iterator[None]:
    """Turn errors of pyarrow on damaged or unreadable tables into a SourceError of one line.

    where : what messages call the table
    """
    pyarrow = pyarrow_for(where)
    try:
        yield
    except SourceError:
        raise
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        raise SourceError(
            f"{where}: cannot be read: {lines[0].rstrip('.:')}; check the file, or write it again"
        ) from error


def plain_batch(batch: "pa.RecordBatch") -> "pa.RecordBatch":
    """Return the batch with extension types replaced by their storage types."""
    columns = [column.storage if hasattr(column, "storage") else column for column in batch.columns]
    return pyarrow_for("a table").RecordBatch.from_arrays(columns, names=batch.schema.names)


def scalars_of(column: "pa.Array") -> list[Scalar | None]:
    """Return the values of a column as Python's own; times, dates and decimals as exact texts (ISO 8601)."""
    pyarrow = pyarrow_for("a table")
    types = pyarrow.types
    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    values: list[Scalar | None]
    if not (is_text(kind) or types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind)):
        texts = column.cast(pyarrow.string()).to_pylist()
        values = [None if text is None else text.replace(" ", "T", 1) for text in texts]
    elif types.is_float16(kind):
        values = column.cast(pyarrow.float64()).to_pylist()
    else:
        values = column.to_pylist()
    return values


def pixels_of(cell: "pa.ListScalar") -> EntryData:
    """Return pixels [H, W] or [H, W, C] from a list of lists of numbers, or `Unreadable`."""
    values: Any = cell.values
    shape: list[int] = []
    lists = 1
    while len(values) and not values.null_count:
        shape.append(len(values) // lists)
        if not is_nested(values.type):
            pixels: NDArray[np.generic] = values.to_numpy().reshape(shape)
            return pixels
        lists, inner = len(values), values.flatten()
        if hasattr(values, "value_lengths") and len(values.value_lengths().unique()) != 1:
            return Unreadable("its rows of pixels differ in length")
        values = inner
    return Unreadable("holds no pixels, or not all of them")


def relative_name(path: str | None) -> str | None:
    """Return a relative path as it is, and the last part of any other, whose folders are those of another machine."""
    if path is None:
        return None
    path = path.partition("::")[0]  # zip://a.png::https://host/all.zip is how `datasets` calls a part of a file
    parts = re.split(r"[/\\]", path.rstrip("/\\"))
    absolute = path.startswith(("/", "\\")) or re.match(r"[A-Za-z]:|[A-Za-z0-9+.-]+://", path)
    return (parts[-1] or None) if absolute or ".." in parts else path


BATCH_BYTES = 8 << 20
"""About how many bytes of a table are in memory at a time."""

_MAX_CLASSES = 65_536  # a column of more different texts holds no classes

Follow = Callable[[str], EntryData]
"""Takes the path of an image without bytes; returns the data to read instead."""


class TablePart(Protocol):
    """A part of a table: a file, or an object of `datasets`."""

    @property
    def description(self) -> str:
        """What messages call it."""

    @property
    def rows(self) -> int:
        """The number of rows."""

    @property
    def schema(self) -> "pa.Schema":
        """Names and types of the columns."""

    @property
    def reads_nested(self) -> bool:
        """Whether `batches` can read one field of a struct, such as `image.path`."""

    def batches(self, columns: Sequence[str], rows: NDArray[np.int64]) -> Iterator[tuple[int, "pa.RecordBatch"]]:
        """Yield batches that hold all requested rows, in order, each with the number of its first row.

        columns : the columns to read
        rows : int64, ascending; a batch may also hold rows between them
        """


class TableRecords:
    """The rows of several parts with the same columns, part after part.

    follow : finds the data of an image that has a path and no bytes
    splits : the split of each part, which becomes the field "split"; None without splits

    Labels that are texts become classes, sorted by name; to find them, the column is read once. Raises SourceError if
    the parts differ, or if none of their columns holds images.
    """

    def __init__(
        self,
        description: str,
        parts: Sequence[TablePart],
        follow: Follow,
        splits: Sequence[str] | None = None,
    ) -> None:
        self.description = description
        self.skipped: tuple[SkippedFile, ...] = ()
        self._parts = tuple(parts)
        self._follow = follow
        with reading_table(parts[0].description):  # names may be no text
            self._columns = columns_of(parts[0].schema, parts[0].description)
        spare = self._columns.spare_name
        if spare is not None and not any(_has_paths(part, self._columns.image) for part in parts):
            fields = tuple(field for field in self._columns.fields if field != spare)
            self._columns = replace(self._columns, name=spare, fields=fields)
        for part in parts[1:]:
            with reading_table(part.description):
                _check_like(part, parts[0], self._columns.used)
        self._splits = splits if splits is not None and SPLIT_FIELD not in self._columns.fields else None
        self._starts = [0, *itertools.accumulate(part.rows for part in parts)]
        self.class_names = self._columns.class_names
        if self._columns.label is not None and is_text(parts[0].schema.field(self._columns.label).type):
            self.class_names = self._label_texts(self._columns.label)

    @property
    def field_names(self) -> tuple[str, ...]:
        """The names of the further columns, and the split."""
        return (*self._columns.fields, *([] if self._splits is None else [SPLIT_FIELD]))

    def __len__(self) -> int:
        return self._starts[-1]

    def read(self, entries: Iterable[int]) -> Iterator[tuple[int, Record]]:
        """Yield the rows with these ascending numbers; a part without any of them is not opened."""
        numbers = (
            np.arange(entries.start, entries.stop, entries.step)
            if isinstance(entries, range)
            else np.asarray(entries, np.int64)
        )
        for number, part in enumerate(self._parts):
            first, end = np.searchsorted(numbers, self._starts[number : number + 2])
            requested = numbers[first:end] - self._starts[number]
            split = {} if self._splits is None else {SPLIT_FIELD: self._splits[number]}
            done = 0
            with reading_table(part.description):
                for start, batch in part.batches(self._columns.used, requested) if len(requested) else ():
                    low, high = np.searchsorted(requested, [start, start + len(batch)])
                    rows = requested[low:high] - start
                    done += len(rows)
                    for row, record in zip(rows.tolist(), self._records(batch, rows, split), strict=True):
                        yield self._starts[number] + start + row, record
            if done < len(requested):
                raise SourceError(f"{part.description}: has fewer rows than it says; write it again")

    def _records(self, batch: "pa.RecordBatch", rows: NDArray[np.int64], split: dict[str, str]) -> Iterator[Record]:
        columns = self._columns
        batch = plain_batch(batch)
        if len(rows) < len(batch):
            batch = batch.take(pyarrow_for("a table").array(rows))
        labels = self._labels(batch)
        names = self._values(batch, columns.name or None)
        fields = [self._values(batch, name) for name in columns.fields]
        images = self._images(batch.column(columns.image))
        for (path, data), label, name, *values in zip(images, labels, names, *fields, strict=True):
            own = relative_name(path) if columns.name == "" else name
            yield Record(own, data, label, dict(zip(columns.fields, values, strict=True)) | split)

    def _images(self, column: "pa.Array") -> Iterator[tuple[str | None, EntryData]]:
        """Yield the path and the data of each image."""
        kind = self._columns.kind
        for cell in column:
            if not cell.is_valid:
                yield None, Unreadable("no image in this row")
            elif kind != "file":
                yield None, cell.as_py() if kind == "bytes" else pixels_of(cell)
            else:
                image = cell.as_py()
                path = image.get("path")
                path = path if isinstance(path, str) and path else None
                if image["bytes"] is not None:
                    yield path, image["bytes"]
                else:
                    yield path, Unreadable("neither bytes nor a path") if path is None else self._follow(path)

    def _values(self, batch: "pa.RecordBatch", name: str | None) -> Sequence[Any]:
        """Return the values of a column; class names for classes that are not the labels."""
        if name is None:
            return [None] * len(batch)
        values = scalars_of(batch.column(name))
        classes = self._columns.classes.get(name)
        if classes is None:
            return values
        return [classes[value] if isinstance(value, int) and 0 <= value < len(classes) else None for value in values]

    def _labels(self, batch: "pa.RecordBatch") -> Sequence[Any]:
        """Return labels as stored, integers or texts; Arrow's error for integers beyond int64."""
        pyarrow = pyarrow_for("a table")
        label = self._columns.label
        if label is None or not pyarrow.types.is_uint64(batch.column(label).type):
            return self._values(batch, label)
        values: list[int | None] = batch.column(label).cast(pyarrow.int64()).to_pylist()
        return values

    def _label_texts(self, label: str) -> tuple[str, ...] | None:
        """Return the different texts of the column of labels, sorted; None if there are none."""
        found: set[str] = set()
        for part in self._parts:
            with reading_table(part.description):
                for _, batch in part.batches([label], np.arange(part.rows)):
                    found.update(text for text in scalars_of(batch.column(label)) if isinstance(text, str))
            if len(found) > _MAX_CLASSES:
                raise SourceError(
                    f"{self.description}: column {label} holds more than {_MAX_CLASSES:,} different texts, which are "
                    "no classes; give it another name"
                )
        return tuple(sorted(found)) or None


def file_below(root: Location) -> Follow:
    """Follow paths to files in a folder or below it. Others and URLs are unreadable: a table may come from anybody."""

    def follow(path: str) -> EntryData:
        if is_url(path) or is_url(root):
            return Unreadable("holds no bytes, only the address of a file, which is not followed")
        folder = Path(root).resolve()
        try:
            file = (folder / path).resolve()
        except (OSError, ValueError, RuntimeError):  # too long, with a zero byte, a loop of links
            return Unreadable("holds no bytes, only a path that cannot be one")
        if not file.is_relative_to(folder):
            return Unreadable("holds no bytes, only a path that leads out of the folder of its table")
        return file if file.is_file() else Unreadable("holds no bytes, only the path of a file that is not there")

    return follow


def _has_paths(part: TablePart, image: str) -> bool:
    """Whether any image in a column of structs has a path."""
    columns = [f"{image}.path"] if part.reads_nested else [image]
    with reading_table(part.description):
        for _, batch in part.batches(columns, np.arange(part.rows)):
            paths = plain_batch(batch).column(0).field("path")
            if paths.null_count < len(paths) and any(paths.to_pylist()):
                return True
    return False


def _check_like(part: TablePart, first: TablePart, columns: Sequence[str]) -> None:
    if classes_in(part.schema, part.description) != classes_in(first.schema, first.description):
        raise SourceError(
            f"{part.description}: its classes are not those of {first.description}; give files of one table"
        )
    for name in columns:
        if name not in part.schema.names or not _same(part.schema.field(name), first.schema.field(name)):
            line = f"{part.description}: its column {name} is not that of {first.description}; give files of one table"
            raise SourceError(line)


def _same(first: "pa.Field", second: "pa.Field") -> bool:
    return bool(plain_type(first.type).equals(plain_type(second.type)))
