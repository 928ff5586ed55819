"""An array in a temporary file: rows are read and written where they lie, so memory does not grow with it.

A memory map would be simpler. But the pages it has touched count as memory of the process, so that a large array seems
to fill the memory.

Layer: within `storage`, above `spool`.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalti.storage.spool import spool_file

__all__ = ["SpooledRows"]


class SpooledRows:
    """Rows [rows, *row_shape] in a nameless temporary file, with the parts of an array's interface that a fit needs.

    rows : their number; they are 0 until they are set
    beside : the output; the file goes into its folder. None for the system's temporary folder

    Raises OutputError if the file cannot be made or written.
    """

    def __init__(self, rows: int, row_shape: tuple[int, ...], dtype: np.dtype[Any], beside: Path | None = None) -> None:
        self.row_shape, self.dtype, self._rows = row_shape, dtype, rows
        self._row_bytes = dtype.itemsize * math.prod(row_shape)
        self._file = spool_file(beside)  # closed with this object
        self._file.truncate(rows * self._row_bytes)

    def __len__(self) -> int:
        return self._rows

    def shorten(self, rows: int) -> None:
        """Leave out the last rows, so that there are `rows`."""
        self._rows = rows

    def __setitem__(self, where: slice, values: NDArray[Any]) -> None:
        """Set the rows from where.start on."""
        self._file.seek(where.start * self._row_bytes)
        plain: NDArray[Any] = np.ascontiguousarray(values, self.dtype)
        if plain.size:
            self._file.write(plain.data.cast("B"))

    def __getitem__(self, where: slice | NDArray[np.integer]) -> NDArray[Any]:
        """Rows as a new array: those of a slice without a step, or of given numbers in that order."""
        if isinstance(where, slice):
            start, stop, _ = where.indices(self._rows)
            rows = np.empty((max(0, stop - start), *self.row_shape), self.dtype)
            self._read(start, rows)
            return rows
        rows = np.empty((len(where), *self.row_shape), self.dtype)
        for row, number in zip(rows, where.tolist(), strict=True):
            self._read(number, row)
        return rows

    def _read(self, first: int, rows: NDArray[Any]) -> None:
        """Fill rows, from row `first` of the file on."""
        if not rows.size:
            return
        self._file.seek(first * self._row_bytes)
        left = rows.data.cast("B")
        while left:
            read = self._file.readinto(left)  # type: ignore[attr-defined]  # typeshed's IO lacks it
            if not read:
                raise IndexError(f"row {first} of {self._rows}")
            left = left[read:]
