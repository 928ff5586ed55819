"""Objects of Hugging Face `datasets` as records: `Dataset`, `IterableDataset`, and dicts of them by split.

They are known by the module that their class is of, so that nothing is imported for anything else. Images are taken
as the files that the dataset holds, or as its arrays; formats and transforms that were set on it are not applied.
"""

import shutil
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

import numpy as np
from numpy.typing import NDArray

from smalti.errors import SourceError
from smalti.images.datasetspool import spool_rows
from smalti.images.decoding import EntryData, Unreadable
from smalti.images.places import is_url
from smalti.images.records import Records
from smalti.images.saveddataset import ArrowPart
from smalti.images.tablerecords import BATCH_BYTES, TablePart, TableRecords

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]

__all__ = ["DatasetObject", "is_dataset_object", "open_dataset_object"]

_DICTS = frozenset({"DatasetDict", "IterableDatasetDict"})
_KINDS = frozenset({"Dataset", "IterableDataset"}) | _DICTS


class DatasetObject(Protocol):
    """A `datasets.Dataset`, `IterableDataset`, `DatasetDict` or `IterableDatasetDict`."""

    @property
    def column_names(self) -> Any:
        """The columns; of a dict of splits, of each."""


class DatasetPart:
    """A `datasets.Dataset`, read as tables of Arrow."""

    def __init__(self, dataset: Any, name: str) -> None:
        self.shown = name
        self.rows = len(dataset)
        self.schema = dataset.features.arrow_schema
        self._dataset = dataset
        row_bytes = dataset.data.nbytes / max(1, dataset.data.num_rows)
        self._batch_rows = max(1, min(1024, int(BATCH_BYTES / max(1, row_bytes))))

    def batches(self, columns: Sequence[str], wanted: NDArray[np.int64]) -> Iterator[tuple[int, "pa.RecordBatch"]]:
        """As `TablePart.batches`."""
        tables = self._dataset.select_columns(list(columns)).with_format("arrow")
        for step in np.unique(wanted // self._batch_rows).tolist():
            start = step * self._batch_rows
            for batch in tables[start : start + self._batch_rows].to_batches():
                yield start, batch
                start += len(batch)


def is_dataset_object(spec: object) -> TypeGuard[DatasetObject]:
    """Whether this is an object of `datasets` that holds rows."""
    return _kind(spec) is not None


def open_dataset_object(spec: Any) -> Records:
    """Open an object of `datasets`; of a dict of splits all of them, in its order, with the field "split".

    An IterableDataset has no length and may come over a network, while a fit goes over its images many times: it is
    read once, into a temporary file as large as its encoded images, which goes when the source does.

    Raises SourceError if there are no rows, or no column holds images.
    """
    name = f"Hugging Face {_kind(spec)}"
    splits = list(spec) if _kind(spec) in _DICTS else None
    folder = Path(tempfile.mkdtemp(prefix="smalti-"))
    try:
        datasets = [spec] if splits is None else [spec[split] for split in splits]
        parts = [_part(dataset, folder / f"{number}.arrow", name) for number, dataset in enumerate(datasets)]
        if not any(part.rows for part in parts):
            raise SourceError(f"{name}: has no rows; give one that holds images")
        records = TableRecords(name, parts, _follow, splits)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(records, shutil.rmtree, folder, ignore_errors=True)
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
    """An image that the dataset names and does not hold: it is the caller's own, so its paths are followed."""
    if is_url(path):
        return Unreadable("holds no bytes, only the address of a file; download the files first")
    file = Path(path)
    return file if file.is_file() else Unreadable("holds no bytes, only the path of a file that is not there")
