"""Folders made by `Dataset.save_to_disk` and `DatasetDict.save_to_disk` of Hugging Face `datasets`, as records.

They hold streams of Arrow, read by pyarrow alone, mapped into memory (extra `smalti[parquet]`).
"""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smalti.errors import SourceError
from smalti.sources.records.record import Records
from smalti.sources.tables.schema import pyarrow_for
from smalti.sources.tables.table_records import TableRecords, file_below, reading_table
from smalti.storage.location import Location, is_url, redacted

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]

__all__ = ["ArrowPart", "is_saved_dataset", "open_saved_dataset"]

_STATE, _SPLITS = "state.json", "dataset_dict.json"
_FILE_NAME = re.compile(r"[^/\\:\x00-\x1f]+\.arrow")


class ArrowPart:
    """One file of Arrow's streaming format, mapped into memory: of what is not asked for only the heads are read."""

    reads_nested = False

    def __init__(self, path: Path, name: str | None = None) -> None:
        self.shown = redacted(path) if name is None else name
        self._path = path
        self._starts = [0]
        pyarrow_for(self.shown)
        with reading_table(self.shown), self._stream() as stream:
            self.schema = stream.schema
            for batch in stream:
                self._starts.append(self._starts[-1] + len(batch))
        self.rows = self._starts[-1]

    def batches(self, columns: Sequence[str], wanted: NDArray[np.int64]) -> Iterator[tuple[int, "pa.RecordBatch"]]:
        """As `TablePart.batches`."""
        with self._stream() as stream:
            for start, batch in zip(self._starts, stream, strict=False):
                first, end = np.searchsorted(wanted, [start, start + len(batch)])
                if first < end:
                    part = batch.select(list(columns))
                    part.validate(full=True)  # what a file says of its own offsets is not to be trusted
                    yield start, part

    def _stream(self) -> "pa.RecordBatchStreamReader":
        import pyarrow as pa  # noqa: PLC0415 (optional)

        return pa.ipc.open_stream(pa.memory_map(str(self._path)))


def is_saved_dataset(place: Location) -> bool:
    """Whether a local folder was made by `save_to_disk`."""
    if is_url(place):
        return False
    folder = Path(place)
    if (folder / _SPLITS).is_file():
        return True
    try:
        return "_data_files" in _read(folder / _STATE)
    except SourceError:  # no such file, or another program's
        return False


def open_saved_dataset(place: Location) -> Records:
    """Open a saved dataset; of one with splits all of them, in its own order, with the field "split".

    Raises SourceError if files are missing or damaged, or no column holds images.
    """
    folder = Path(place)
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
