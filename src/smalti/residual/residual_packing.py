"""The section of residuals in a file, called corrections there: its tables as bytes, and back with every check.

docs/format.md has the layout byte by byte.

Layer: within `residual`, above `modes` and `symbol_classes`.
"""

import struct
import zlib

import numpy as np
from numpy.typing import DTypeLike, NDArray

from smalti.entropy.frequency import MAX_PRECISION, FrequencyTable
from smalti.entropy.priors import TablePrior
from smalti.errors import DamagedArchiveError, ModelError, UnsupportedArchiveError, UsageError
from smalti.residual.modes import CONTEXTS, MODES, NONE, STORED, mode_count
from smalti.residual.symbol_classes import class_count

__all__ = ["MODE_PRECISION", "NO_TABLE", "pack_map", "pack_prior", "unpack_prior"]

MODE_PRECISION = 12
NO_TABLE = 255
"""Stands for a table where the mode of a cell does not occur."""

_KINDS = (1, 2)
_HEAD = struct.Struct("<BBHHBBH")  # kind, precision, group images, symbols, modes, tables, bytes of the map
_MODE = struct.Struct("<BH")  # a mode, its frequency less one


def pack_prior(
    mode_table: FrequencyTable,
    tables: TablePrior,
    table_of_cell: NDArray[np.uint8],
    group_images: int,
    dtype: DTypeLike = np.uint8,
) -> bytes:
    """Serialise the parts of a ResidualPrior. `unpack_prior` is the inverse."""
    modes = mode_table.symbols.tolist()
    cell_map, precision = pack_map(table_of_cell, tables.rows), tables.precision
    head = _HEAD.pack(_kind(dtype), precision, group_images, tables.codes, len(modes), tables.rows, len(cell_map))
    mode_bytes = b"".join(_MODE.pack(mode, int(mode_table.frequencies[mode]) - 1) for mode in modes)
    return head + mode_bytes + cell_map + tables.to_bytes()


def _kind(dtype: DTypeLike) -> int:
    return 1 if dtype == np.uint8 else 2


def pack_map(table_of_cell: NDArray[np.uint8], tables: int) -> bytes:
    """The compressed map of all cells that can occur to their tables; empty if there is one table."""
    return zlib.compress(table_of_cell[table_of_cell != NO_TABLE].tobytes(), 9) if tables > 1 else b""


def unpack_prior(data: bytes, dtype: DTypeLike = np.uint8) -> tuple[FrequencyTable, TablePrior, NDArray[np.uint8], int]:
    """Read the bytes of `pack_prior`.

    Raises DamagedArchiveError if it cannot have written them for such pixels, UnsupportedArchiveError if they are of a
    later kind.
    """
    if len(data) < _HEAD.size:
        raise DamagedArchiveError(f"corrections: {len(data)} bytes are too few for their tables")
    kind, precision, group_images, symbols, modes, tables, map_bytes = _HEAD.unpack_from(data)
    if kind not in _KINDS:
        raise UnsupportedArchiveError(f"corrections: kind {kind} is not known to this release; use a newer smalti")
    if kind != _kind(dtype):
        raise DamagedArchiveError(f"corrections: of kind {kind}, which is not for pixels of {np.dtype(dtype)}")
    map_start = _HEAD.size + modes * _MODE.size
    map_end = map_start + map_bytes
    sizes_fit = 1 <= symbols <= class_count(dtype) and 1 <= tables <= NO_TABLE
    if precision > MAX_PRECISION or group_images < 1 or not sizes_fit:
        raise DamagedArchiveError("corrections: a field of the head of their tables is out of range")
    if map_end > len(data):
        raise DamagedArchiveError("corrections: their tables end after the data")
    try:
        mode_table = _unpack_modes(data[_HEAD.size : map_start], mode_count(dtype))
        of_cells = TablePrior.from_bytes(data[map_end:], tables, symbols, precision)
    except (ModelError, UsageError) as error:
        raise DamagedArchiveError(f"corrections: {error}") from error
    return mode_table, of_cells, _unpack_map(data[map_start:map_end], mode_table, tables), group_images


def _unpack_modes(data: bytes, known: int) -> FrequencyTable:
    stored = list(_MODE.iter_unpack(data))
    modes = [mode for mode, _ in stored]
    if modes != sorted(set(modes)) or modes in ([], [NONE]):
        raise DamagedArchiveError("corrections: their modes are not some modes, ascending")
    if modes[-1] >= known:
        raise UnsupportedArchiveError(f"corrections: mode {modes[-1]} is not known to this release; use a newer smalti")
    frequencies = np.zeros(MODES, np.uint32)
    frequencies[modes] = [frequency + 1 for _, frequency in stored]
    return FrequencyTable(frequencies, MODE_PRECISION)


def _unpack_map(data: bytes, mode_table: FrequencyTable, tables: int) -> NDArray[np.uint8]:
    """The table of each cell. A stored mode has one cell, mode 0 none, every other mode CONTEXTS."""
    modes = [mode for mode in mode_table.symbols.tolist() if mode != NONE]
    cells = np.concatenate([mode * CONTEXTS + np.arange(1 if mode in STORED else CONTEXTS) for mode in modes])
    if tables == 1 and data:
        raise DamagedArchiveError("corrections: a map of their cells where there is but one table")
    numbers = np.frombuffer(_inflate(data, len(cells)), np.uint8) if tables > 1 else np.zeros(len(cells), np.uint8)
    if int(numbers.max()) >= tables:
        raise DamagedArchiveError(f"corrections: a cell has a table beyond the {tables} there are")
    table_of_cell = np.full(MODES * CONTEXTS, NO_TABLE, np.uint8)
    table_of_cell[cells] = numbers
    return table_of_cell


def _inflate(data: bytes, size: int) -> bytes:
    inflater = zlib.decompressobj()
    try:
        unpacked = inflater.decompress(data, size + 1)
    except zlib.error as error:
        raise DamagedArchiveError(f"corrections: the map of their cells: {error}") from error
    if len(unpacked) != size or not inflater.eof or inflater.unused_data:
        raise DamagedArchiveError("corrections: the map of their cells has another length")
    return unpacked
