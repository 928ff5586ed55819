"""Objects of Hugging Face `datasets` as records: `Dataset`, `IterableDataset`, and dicts of them by split.

Such an object is recognized by the module of its class, so `datasets` is not imported for any other source. Images are
read as the files that the dataset holds, or as its arrays; formats and transforms set on it are not applied. The rows
of an `IterableDataset`, which has no length and may come over a network, are first written to a temporary file.
"""

import dataclasses
import io
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from smalti.errors import SourceError
from smalti.sources.records.record import EntryData, Records, Unreadable
from smalti.sources.tables.schema import columns_of, plain_type, pyarrow_for
from smalti.sources.tables.table_files import ArrowPart
from smalti.sources.tables.table_records import BATCH_BYTES, TablePart, TableRecords
from smalti.storage.atomic import writing
from smalti.storage.location import is_url
from smalti.storage.spool import spool_folder

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]

__all__ = ["DatasetObject", "is_dataset_object", "open_dataset_object", "spool_rows"]


_ROWS = 32  # in memory at a time; their size is not known
_PNG_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"})


def spool_rows(dataset: Any, path: Path, name: str) -> None:
    """Write the rows of an IterableDataset to a file of Arrow: the columns that a source reads, images as files.

    dataset : if its features are unknown, all columns are written, and the first rows decide their types
    name : what messages call it

    Raises SourceError if there are no rows, or if they do not fit the columns; OutputError if the file cannot be
    written. Errors of the dataset pass through.
    """
    # Rows are requested, not tables: for tables, `datasets` would take the types of each row for those of the columns.
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
        with _writing_table(path, schema) as stream:
            while columns is not None:
                arrays = [pyarrow.array(_plain(columns[field.name]), field.type) for field in schema]
                with writing(path):
                    stream.write_batch(pyarrow.RecordBatch.from_arrays(arrays, schema=schema))
                columns = next(batches, None)
    except pyarrow.ArrowException as error:
        reason = str(error).splitlines()[0].rstrip(".: ")
        advice = "say what its columns are, with features= or cast_column" if known is None else "correct them"
        raise SourceError(f"{name}: its rows do not fit its columns: {reason}; {advice}") from error


@contextmanager
def _writing_table(path: Path, schema: "pa.Schema") -> Iterator[Any]:
    """Open a stream that takes batches, and close it at the end. OutputError if the system refuses."""
    pyarrow = pyarrow_for("a dataset")
    with writing(path):
        file = pyarrow.OSFile(str(path), "wb")
        stream = pyarrow.ipc.new_stream(file, schema)
    try:
        yield stream
    finally:
        with writing(path), file:
            stream.close()


def _encoded(dataset: Any) -> Any:
    """Return the same rows with images as files, not decoded."""
    dataset = dataset.with_format(None)
    for column, feature in (dataset.features or {}).items():
        if type(feature).__name__ == "Image":
            dataset = dataset.cast_column(column, dataclasses.replace(feature, decode=False))
    return dataset


def _stored_schema(schema: "pa.Schema") -> "pa.Schema":
    columns = [(column.name, plain_type(column.type)) for column in schema]
    return pyarrow_for("a dataset").schema(columns, metadata=schema.metadata)


def _schema_of(columns: Mapping[str, Sequence[Any]]) -> "pa.Schema":
    """Return the schema of a dataset without features, by its first rows."""
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
    """Return values that Arrow makes columns of: arrays as lists, Pillow's images as lossless files."""
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


_DICTS = frozenset({"DatasetDict", "IterableDatasetDict"})
_KINDS = frozenset({"Dataset", "IterableDataset"}) | _DICTS


class DatasetObject(Protocol):
    """A `datasets.Dataset`, `IterableDataset`, `DatasetDict` or `IterableDatasetDict`."""

    @property
    def column_names(self) -> Any:
        """The names of the columns; of a dict, those of each split."""


class DatasetPart:
    """A `datasets.Dataset`, read as tables of Arrow; `batches` cannot read one field of a struct."""

    reads_nested = False

    def __init__(self, dataset: Any, name: str) -> None:
        self.description = name
        self.rows = len(dataset)
        self.schema = dataset.features.arrow_schema
        self._dataset = dataset
        row_bytes = dataset.data.nbytes / max(1, dataset.data.num_rows)
        self._batch_rows = max(1, min(1024, int(BATCH_BYTES / max(1, row_bytes))))

    def batches(self, columns: Sequence[str], rows: NDArray[np.int64]) -> Iterator[tuple[int, "pa.RecordBatch"]]:
        """Yield the batches that hold requested rows."""
        tables = self._dataset.select_columns(list(columns)).with_format("arrow")
        for step in np.unique(rows // self._batch_rows).tolist():
            start = step * self._batch_rows
            for batch in tables[start : start + self._batch_rows].to_batches():
                yield start, batch
                start += len(batch)


def is_dataset_object(spec: object) -> TypeGuard[DatasetObject]:
    """Whether this is an object of `datasets` that holds rows."""
    return _kind(spec) is not None


def open_dataset_object(spec: Any, spool_beside: Path | None = None) -> Records:
    """Open an object of `datasets`. Of a dict, all splits are read, in its order, with the field "split".

    An IterableDataset has no length and may come over a network, while a fit reads its images many times. It is read
    once, into a temporary file as large as its encoded images, which is removed with the source.

    spool_beside : the output; the temporary file lies beside it. None takes the system's temporary folder

    Raises SourceError if there are no rows, or no column holds images; OutputError if there is no room for that file.
    """
    name = f"Hugging Face {_kind(spec)}"
    splits = list(spec) if _kind(spec) in _DICTS else None
    with ExitStack() as spools:
        datasets = [spec] if splits is None else [spec[split] for split in splits]
        spooled = any(_kind(dataset) != "Dataset" for dataset in datasets)
        folder = spools.enter_context(spool_folder(spool_beside)) if spooled else Path()
        parts = [_part(dataset, folder / f"{number}.arrow", name) for number, dataset in enumerate(datasets)]
        if not any(part.rows for part in parts):
            raise SourceError(f"{name}: has no rows; give one that holds images")
        records = TableRecords(name, parts, _follow, splits)
        weakref.finalize(records, spools.pop_all().close)
    return records


def _kind(spec: object) -> str | None:
    for kind in type(spec).__mro__:
        if kind.__module__.partition(".")[0] == "datasets" and kind.__name__ in _KINDS:
            return kind.__name__
    return None


def _part(dataset: Any, spool: Path, name: str) -> TablePart:
    if _kind(dataset) == "Dataset":
        return DatasetPart(dataset, name)
    spool_rows(dataset, spool, name)
    return ArrowPart(spool, name)


def _follow(path: str) -> EntryData:
    """Read an image that the dataset names and does not hold. Paths of the caller's own dataset are followed."""
    if is_url(path):
        return Unreadable("holds no bytes, only the address of a file; download the files first")
    file = Path(path)
    return file if file.is_file() else Unreadable("holds no bytes, only the path of a file that is not there")
