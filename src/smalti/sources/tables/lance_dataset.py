"""Lance datasets as tables, read by pylance (extra `smalti[lance]`): a local folder, its latest version.

Columns of blobs, which a scan gives as descriptions, are read as the bytes that they stand for.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smalti.errors import MissingDependencyError, SmaltiError, SourceError
from smalti.sources.tables.schema import pyarrow_for
from smalti.sources.tables.table_records import BATCH_BYTES, TableRecords, file_below
from smalti.storage.location import Location, is_url, redacted

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]

__all__ = ["LancePart", "is_lance_dataset", "open_lance_dataset"]

_BLOB = "lance.blob.v2"
_FIRST_ROWS, _MAX_ROWS = 16, 1024  # of a batch; the size of rows is known after the first


def is_lance_dataset(location: Location) -> bool:
    """Whether a local folder is a Lance dataset."""
    return not is_url(location) and (Path(location) / "_versions").is_dir() and (Path(location) / "data").is_dir()


def open_lance_dataset(location: Location) -> TableRecords:
    """Open the latest version of a dataset.

    Raises SourceError if it is damaged, or if no column holds images; MissingDependencyError without pylance.
    """
    return TableRecords(redacted(location), [LancePart(Path(location))], file_below(location))


class LancePart:
    """A dataset, which is opened anew for each pass: its threads do not outlive a fork."""

    reads_nested = False

    def __init__(self, path: Path) -> None:
        self.description = redacted(path)
        self._path = path
        with self._opened() as dataset:
            self.rows = int(dataset.count_rows())
            self._blobs = frozenset(field.name for field in dataset.schema if _is_blob(field))
            self.schema = self._plain_schema(dataset.schema)

    def batches(self, columns: Sequence[str], rows: NDArray[np.int64]) -> Iterator[tuple[int, "pa.RecordBatch"]]:
        """Yield batches of consecutive requested rows."""
        most = _FIRST_ROWS
        with self._opened() as dataset:
            for run in np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1):
                done = 0
                while done < len(run):
                    part = run[done : done + most]
                    batch = self._batch(dataset, list(columns), part.tolist())
                    yield int(part[0]), batch
                    done += len(part)
                    most = max(1, min(_MAX_ROWS, BATCH_BYTES * len(part) // max(1, batch.nbytes)))

    def _batch(self, dataset: Any, columns: list[str], rows: list[int]) -> "pa.RecordBatch":
        pyarrow = pyarrow_for(self.description)
        plain = [name for name in columns if name not in self._blobs]
        found: dict[str, Any] = {}
        if plain:
            table = dataset.take(rows, columns=plain)
            found = {name: table.column(name).combine_chunks() for name in plain}
        for name in columns:
            if name in self._blobs:
                files = dataset.take_blobs(name, indices=rows)
                data = [None if file is None else file.readall() for file in files]
                found[name] = pyarrow.array(data, pyarrow.large_binary())
        schema = pyarrow.schema([self.schema.field(name) for name in columns])
        return pyarrow.RecordBatch.from_arrays([found[name] for name in columns], schema=schema)

    def _plain_schema(self, schema: "pa.Schema") -> "pa.Schema":
        """Return the schema with bytes for blobs."""
        pyarrow = pyarrow_for(self.description)
        fields = [pyarrow.field(one.name, pyarrow.large_binary()) if _is_blob(one) else one for one in schema]
        return pyarrow.schema(fields, schema.metadata)

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        """Open the dataset; every error inside becomes a SourceError of one line."""
        try:
            import lance  # noqa: PLC0415 (optional, and large)
        except ImportError as error:
            raise MissingDependencyError.of(self.description, "pylance", "lance") from error
        try:
            yield lance.dataset(str(self._path))
        except SmaltiError:
            raise
        except Exception as error:  # of Rust, in many types
            line = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise SourceError(f"{self.description}: cannot be read: {line}; check the dataset") from error


def _is_blob(field: "pa.Field") -> bool:
    """Whether a column holds blobs, of the first kind or of the second."""
    name = getattr(field.type, "extension_name", "")
    return name == _BLOB or (field.metadata or {}).get(b"lance-encoding:blob") == b"true"
