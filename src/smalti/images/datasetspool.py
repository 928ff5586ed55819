"""The rows of an `IterableDataset`, which has no length and may come over a network, in a file that has both."""

import dataclasses
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from smalti.errors import SourceError
from smalti.images.tablecolumns import columns_of, plain_type, pyarrow_for

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]

__all__ = ["spool_rows"]

_ROWS = 32  # held at a time; their size is not known
_PNG_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"})


def spool_rows(dataset: Any, path: Path, name: str) -> None:
    """Write the rows of an IterableDataset to a file of Arrow: what a source reads of them, images as files.

    dataset : whose features may be unknown: then all columns are written, and its first rows say what they are
    name : what messages call it

    Raises SourceError if there are no rows, or if they do not fit the columns; what the dataset raises passes through.
    """
    # Rows are asked for and not tables, because for these `datasets` takes the types of each row for those of columns.
    pyarrow = pyarrow_for(name)
    known = dataset.features
    if known is not None:
        dataset = dataset.select_columns(list(columns_of(known.arrow_schema, name).used))
    batches = _encoded(dataset).iter(_ROWS)
    columns = next(batches, None)
    if columns is None:
        raise SourceError(f"{name}: has no rows; give one that holds images")
    try:
        schema = _schema_of(columns) if known is None else _stored_schema(dataset.features.arrow_schema)
        with pyarrow.OSFile(str(path), "wb") as file, pyarrow.ipc.new_stream(file, schema) as stream:
            while columns is not None:
                arrays = [pyarrow.array(_plain(columns[field.name]), field.type) for field in schema]
                stream.write_batch(pyarrow.RecordBatch.from_arrays(arrays, schema=schema))
                columns = next(batches, None)
    except pyarrow.ArrowException as error:
        reason = str(error).splitlines()[0].rstrip(".: ")
        advice = "say what its columns are, with features= or cast_column" if known is None else "correct them"
        raise SourceError(f"{name}: its rows do not fit its columns: {reason}; {advice}") from error


def _encoded(dataset: Any) -> Any:
    """The same rows with images as files, not decoded."""
    dataset = dataset.with_format(None)
    for column, feature in (dataset.features or {}).items():
        if type(feature).__name__ == "Image":
            dataset = dataset.cast_column(column, dataclasses.replace(feature, decode=False))
    return dataset


def _stored_schema(schema: "pa.Schema") -> "pa.Schema":
    columns = [(column.name, plain_type(column.type)) for column in schema]
    return pyarrow_for("a dataset").schema(columns, metadata=schema.metadata)


def _schema_of(columns: Mapping[str, Sequence[Any]]) -> "pa.Schema":
    """What the first rows of a dataset without features show."""
    pyarrow = pyarrow_for("a dataset")
    types = {}
    for column, values in columns.items():
        array = next((value for value in values if isinstance(value, np.ndarray)), None)
        if array is None:
            types[column] = pyarrow.array(_plain(values)).type
        else:
            types[column] = pyarrow.from_numpy_dtype(array.dtype)
            for _ in range(array.ndim):
                types[column] = pyarrow.list_(types[column])
    return pyarrow.schema(types.items())


def _plain(values: Iterable[Any]) -> list[Any]:
    """What Arrow makes columns of: arrays as lists, Pillow's images as files that lose nothing."""
    return [
        {"bytes": _file_of(value), "path": None}
        if isinstance(value, Image.Image)
        else (value.tolist() if isinstance(value, np.ndarray) else value)
        for value in values
    ]


def _file_of(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG" if image.mode in _PNG_MODES else "TIFF")
    return buffer.getvalue()
