"""Parquet files as records: one file, several, or a folder of them as repositories of datasets have it.

Read row group by row group, and within these batch by batch, with the extra `smalti[parquet]`; never as pickles, which
no file can bring pyarrow to load.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smalti.errors import SourceError
from smalti.imagefiles.table import IMAGE_SUFFIXES
from smalti.images.vocabulary import METADATA_PARQUET, is_split
from smalti.sources.records.record import Records
from smalti.sources.tables.schema import pyarrow_for
from smalti.sources.tables.table_records import BATCH_BYTES, TableRecords, file_below, reading_table
from smalti.storage.location import Location, below, beside, is_url, list_files, open_binary, redacted

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]
    import pyarrow.parquet as pq  # type: ignore[import-untyped, unused-ignore]

__all__ = ["is_parquet_folder", "open_parquet", "open_parquet_folder", "parquet_names"]

_SUFFIX = ".parquet"
_BUFFER_BYTES = 1 << 20  # read at a time of a column; else a row group is read whole
_BATCH_ROWS = 1024
_SHARD = re.compile(r"(?P<split>.+)-\d{4,}-of-\d{4,}")


class ParquetPart:
    """One Parquet file; its end, with the table of row groups, is read on opening and kept."""

    reads_nested = True

    def __init__(self, place: Location, name: str) -> None:
        self.shown = name
        self._place = place
        pyarrow_for(name)
        with self._opened() as file:
            self.rows = int(file.metadata.num_rows)
            self.schema = file.schema_arrow
            groups = [file.metadata.row_group(index) for index in range(file.metadata.num_row_groups)]
            self._starts = np.cumsum([0, *(group.num_rows for group in groups)])
            sizes = [group.total_byte_size / max(1, group.num_rows) for group in groups]
        self._batch_rows = max(1, min(_BATCH_ROWS, int(BATCH_BYTES / max([1, *sizes]))))

    def batches(self, columns: Sequence[str], wanted: NDArray[np.int64]) -> Iterator[tuple[int, "pa.RecordBatch"]]:
        """As `TablePart.batches`; row groups without a wanted row are not read."""
        with self._opened() as file:
            for group in np.unique(np.searchsorted(self._starts, wanted, side="right") - 1).tolist():
                start, end = int(self._starts[group]), int(self._starts[group + 1])
                last = int(wanted[np.searchsorted(wanted, end) - 1])
                # one thread, because those of pyarrow do not outlive a fork
                for batch in file.iter_batches(
                    self._batch_rows, row_groups=[group], columns=list(columns), use_threads=False
                ):
                    yield start, batch
                    start += len(batch)
                    if start > last:
                        break

    @contextmanager
    def _opened(self) -> "Iterator[pq.ParquetFile]":
        import pyarrow.parquet as pq  # noqa: PLC0415 (optional)

        with open_binary(self._place) as binary, reading_table(self.shown):
            file = pq.ParquetFile(binary, buffer_size=_BUFFER_BYTES, pre_buffer=False)
            yield file


def open_parquet(places: Sequence[Location], description: str) -> Records:
    """Open Parquet files as one source, in the order given.

    Raises SourceError for a file that is none, for files of different columns, and where no column holds images;
    MissingDependencyError without pyarrow.
    """
    parts = [ParquetPart(place, redacted(place)) for place in places]
    return TableRecords(description, parts, file_below(_folder_of(places[0])))


def is_parquet_folder(place: Location) -> bool:
    """Whether a folder holds Parquet files, at any depth, and no image files."""
    found = False
    for name, _ in list_files(place):
        suffix = "." + name.rpartition(".")[2].lower()
        if suffix in IMAGE_SUFFIXES:
            return False
        found |= _is_part(name)
    return found


def parquet_names(place: Location) -> tuple[str, ...]:
    """The relative names of a folder's Parquet files, in order; hidden ones are left out."""
    return tuple(name for name, _ in list_files(place) if _is_part(name))


def open_parquet_folder(place: Location, names: Sequence[str] | None = None) -> Records:
    """Open the Parquet files of a folder as one source, in the order of their names; or some of its `parquet_names`.

    If the name of every file tells its split (`data/train-00000-of-00002.parquet`, `test.parquet`,
    `default/validation/0000.parquet`), it becomes the field "split".
    """
    names = parquet_names(place) if names is None else names
    if not names:
        raise SourceError(f"{redacted(place)}: holds no {_SUFFIX} files; give a folder that does")
    parts = [ParquetPart(below(place, name), redacted(below(place, name))) for name in names]
    splits = [split for name in names if (split := split_of(name)) is not None]
    return TableRecords(redacted(place), parts, file_below(place), splits if len(splits) == len(names) else None)


def split_of(name: str) -> str | None:
    """The split that the relative name of a Parquet file tells, as repositories of datasets name theirs."""
    *folders, stem = name.removesuffix(_SUFFIX).split("/")
    shard = _SHARD.fullmatch(stem)
    if shard is not None:
        return shard["split"]
    for part in (stem, *reversed(folders)):
        words = part.removeprefix("partial-")
        word = re.sub(r"[-_.]?\d+$", "", words)
        if is_split(word):
            return word
    return None


def _is_part(name: str) -> bool:
    hidden = any(part.startswith(".") for part in name.split("/"))
    return name.lower().endswith(_SUFFIX) and name.rpartition("/")[2] != METADATA_PARQUET and not hidden


def _folder_of(place: Location) -> Location:
    return beside(place, "") if is_url(place) else Path(place).parent
