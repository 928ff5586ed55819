"""Cells of Arrow's columns as plain values: scalars, pixels, names; and Arrow's errors as ours."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smalti.errors import SourceError
from smalti.images.batch import Scalar
from smalti.images.decoding import EntryData, Unreadable
from smalti.images.tablecolumns import is_nested, is_text, pyarrow_for

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]

__all__ = ["pixels_of", "plain_batch", "reading_table", "relative_name", "scalars_of"]


@contextmanager
def reading_table(shown: str) -> Iterator[None]:
    """Turn what pyarrow raises on damaged or unreadable tables into a SourceError of one line.

    shown : what messages call the table
    """
    pyarrow = pyarrow_for(shown)
    try:
        yield
    except SourceError:
        raise
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        raise SourceError(
            f"{shown}: cannot be read: {lines[0].rstrip('.:')}; check the file, or write it again"
        ) from error


def plain_batch(batch: "pa.RecordBatch") -> "pa.RecordBatch":
    """The batch with columns of extension types as they are stored."""
    columns = [column.storage if hasattr(column, "storage") else column for column in batch.columns]
    return pyarrow_for("a table").RecordBatch.from_arrays(columns, names=batch.schema.names)


def scalars_of(column: "pa.Array") -> list[Scalar | None]:
    """Values of a column as Python's own; times, dates and decimal numbers as texts (ISO 8601), to the last digit."""
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
    """Pixels [H, W] or [H, W, C] of a list of lists of numbers, or why they are none."""
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
    """A path as a name: as it is if it is relative, else its last part, because the rest is of another machine."""
    if path is None:
        return None
    path = path.partition("::")[0]  # zip://a.png::https://host/all.zip is how `datasets` calls a part of a file
    parts = re.split(r"[/\\]", path.rstrip("/\\"))
    absolute = path.startswith(("/", "\\")) or re.match(r"[A-Za-z]:|[A-Za-z0-9+.-]+://", path)
    return (parts[-1] or None) if absolute or ".." in parts else path
