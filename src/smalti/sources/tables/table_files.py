"""Tables in files, as records, read by pyarrow (extra `smalti[parquet]`).

Parquet: one file, several, or a folder of them, as repositories of datasets have it. They are read row group by row
group, and batch by batch within these; no file can make pyarrow load a pickle.

Saved datasets: folders made by `Dataset.save_to_disk` and `DatasetDict.save_to_disk` of Hugging Face `datasets`. They
hold streams of Arrow, which are mapped into memory.
"""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smalti.errors import SourceError
from smalti.imagefiles.table import is_image_name
from smalti.images.vocabulary import METADATA_PARQUET, is_split
from smalti.sources.records.record import RecordFiles, Records
from smalti.sources.tables.schema import pyarrow_for
from smalti.sources.tables.table_records import BATCH_BYTES, TableRecords, file_below, reading_table
from smalti.storage.location import Location, below, beside, is_url, list_files, open_binary, redacted

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]
    import pyarrow.parquet as pq  # type: ignore[import-untyped, unused-ignore]

__all__ = [
    "PARQUET_FILES",
    "ArrowPart",
    "is_saved_dataset",
    "open_saved_dataset",
]


_SUFFIX = ".parquet"
_BUFFER_BYTES = 1 << 20  # of a column, per read; without it, a row group is read whole
_BATCH_ROWS = 1024
_SHARD = re.compile(r"(?P<split>.+)-\d{4,}-of-\d{4,}")


class ParquetPart:
    """One Parquet file. The table of row groups, at its end, is read once, on opening."""

    reads_nested = True

    def __init__(self, location: Location, name: str) -> None:
        self.description = name
        self._location = location
        pyarrow_for(name)
        with self._opened() as file:
            self.rows = int(file.metadata.num_rows)
            self.schema = file.schema_arrow
            groups = [file.metadata.row_group(index) for index in range(file.metadata.num_row_groups)]
            self._starts = np.cumsum([0, *(group.num_rows for group in groups)])
            sizes = [group.total_byte_size / max(1, group.num_rows) for group in groups]
        self._batch_rows = max(1, min(_BATCH_ROWS, int(BATCH_BYTES / max([1, *sizes]))))

    def batches(self, columns: Sequence[str], rows: NDArray[np.int64]) -> Iterator[tuple[int, "pa.RecordBatch"]]:
        """Yield batches of the row groups that hold requested rows."""
        with self._opened() as file:
            for group in np.unique(np.searchsorted(self._starts, rows, side="right") - 1).tolist():
                start, end = int(self._starts[group]), int(self._starts[group + 1])
                last = int(rows[np.searchsorted(rows, end) - 1])
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

        with open_binary(self._location) as binary, reading_table(self.description):
            file = pq.ParquetFile(binary, buffer_size=_BUFFER_BYTES, pre_buffer=False)
            yield file


def _open_files(locations: Sequence[Location], description: str) -> Records:
    """Open Parquet files as one source, in the order given.

    Raises SourceError for a file that is no Parquet file, for files of different columns, and if no column holds
    images; MissingDependencyError without pyarrow.
    """
    parts = [ParquetPart(location, redacted(location)) for location in locations]
    return TableRecords(description, parts, file_below(_folder_of(locations[0])))


def _is_parquet_folder(location: Location) -> bool:
    """Whether a folder holds Parquet files, at any depth, and no image files."""
    found = False
    for name, _ in list_files(location):
        if is_image_name(name):
            return False
        found |= _is_part(name)
    return found


def _names_in(location: Location) -> tuple[str, ...]:
    """The relative names of a folder's Parquet files, in order, without hidden ones."""
    return tuple(name for name, _ in list_files(location) if _is_part(name))


def _open_folder(location: Location, names: Sequence[str]) -> Records:
    """Open Parquet files of a folder as one source.

    If the name of every file states its split (`data/train-00000-of-00002.parquet`, `test.parquet`,
    `default/validation/0000.parquet`), the split becomes the field "split".
    """
    parts = [ParquetPart(below(location, name), redacted(below(location, name))) for name in names]
    splits = [split for name in names if (split := split_of(name)) is not None]
    return TableRecords(redacted(location), parts, file_below(location), splits if len(splits) == len(names) else None)


def split_of(name: str) -> str | None:
    """Return the split that the relative name of a Parquet file states, as repositories of datasets name files."""
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


def _folder_of(location: Location) -> Location:
    return beside(location, "") if is_url(location) else Path(location).parent


PARQUET_FILES = RecordFiles((_SUFFIX,), _open_files, _is_parquet_folder, _names_in, _open_folder)

_STATE, _SPLITS = "state.json", "dataset_dict.json"
_FILE_NAME = re.compile(r"[^/\\:\x00-\x1f]+\.arrow")


class ArrowPart:
    """A file of Arrow's streaming format, mapped into memory. Only heads are read of batches without requested rows."""

    reads_nested = False

    def __init__(self, path: Path, name: str | None = None) -> None:
        self.description = redacted(path) if name is None else name
        self._path = path
        self._starts = [0]
        pyarrow_for(self.description)
        with reading_table(self.description), self._stream() as stream:
            self.schema = stream.schema
            for batch in stream:
                self._starts.append(self._starts[-1] + len(batch))
        self.rows = self._starts[-1]

    def batches(self, columns: Sequence[str], rows: NDArray[np.int64]) -> Iterator[tuple[int, "pa.RecordBatch"]]:
        """Yield the batches that hold requested rows."""
        with self._stream() as stream:
            for start, batch in zip(self._starts, stream, strict=False):
                first, end = np.searchsorted(rows, [start, start + len(batch)])
                if first < end:
                    part = batch.select(list(columns))
                    part.validate(full=True)  # the offsets in a file cannot be trusted
                    yield start, part

    def _stream(self) -> "pa.RecordBatchStreamReader":
        import pyarrow as pa  # noqa: PLC0415 (optional)

        return pa.ipc.open_stream(pa.memory_map(str(self._path)))


def is_saved_dataset(location: Location) -> bool:
    """Whether a local folder was made by `save_to_disk`."""
    if is_url(location):
        return False
    folder = Path(location)
    if (folder / _SPLITS).is_file():
        return True
    try:
        return "_data_files" in _read(folder / _STATE)
    except SourceError:  # no such file, or another program's
        return False


def open_saved_dataset(location: Location) -> Records:
    """Open a saved dataset. If it has splits, all are read, in its own order, with the field "split".

    Raises SourceError if files are missing or damaged, or no column holds images.
    """
    folder = Path(location)
    if not (folder / _SPLITS).is_file():
        return TableRecords(redacted(folder), _parts(folder), file_below(folder))
    names = _read(folder / _SPLITS).get("splits")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise SourceError(f"{folder / _SPLITS}: names no splits; save the dataset again")
    parts: list[ArrowPart] = []
    splits: list[str] = []
    for name in names:
        if not re.fullmatch(r"\w+([.-]\w+)*", name):  # as `datasets` allows them; so none leads out of the folder
            raise SourceError(f"{folder / _SPLITS}: {name!r} is no name of a split; save the dataset again")
        found = _parts(folder / name)
        parts += found
        splits += [name] * len(found)
    return TableRecords(redacted(folder), parts, file_below(folder), splits)


def _parts(folder: Path) -> list[ArrowPart]:
    state = _read(folder / _STATE)
    if state.get("_indices_data_files"):  # releases of `datasets` before 2.0
        raise SourceError(f"{folder}: is a selection of rows; save it again after dataset.flatten_indices()")
    files = state.get("_data_files")
    names = [str(file.get("filename")) for file in files if isinstance(file, dict)] if isinstance(files, list) else []
    if not names or not all(_FILE_NAME.fullmatch(name) for name in names):
        raise SourceError(f"{folder / _STATE}: names no files of Arrow in its folder; save the dataset again")
    return [ArrowPart(folder / name) for name in names]


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror or error}; save the dataset again") from error
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path}: is no JSON; save the dataset again") from error
    if not isinstance(found, dict):
        raise SourceError(f"{path}: is no JSON object; save the dataset again")
    return found
