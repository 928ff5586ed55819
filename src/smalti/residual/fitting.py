"""From counts to the frequency tables that make corrections smallest, the tables' own bytes included."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smalti.entropy import FrequencyTable
from smalti.entropy.tables import pack_tables
from smalti.residual.contexts import CONTEXTS
from smalti.residual.corrections import CorrectionCounts
from smalti.residual.merging import merge_cells
from smalti.residual.modes import MODES, STORED
from smalti.residual.storing import NO_TABLE, pack_map

__all__ = ["MAX_GROUP_VALUES", "FittedTables", "choose_group_images", "fit_tables"]

_PRECISIONS = (8, 10, 12, 14, 16)
_TABLE_BITS = (20.0, 80.0, 400.0)  # how dear a table is taken to be: with few data, few tables are best
_LEAST_GROUP_IMAGES = 16
_USUAL_GROUP_IMAGES = 64
_TINY_GROUP_VALUES = 1 << 14  # groups of tiny images may have more of them, up to so many values
_GROUP_OVERHEAD_BYTES = 7  # a length, and what an entropy coder leaves unused
_GROUP_OVERHEAD_SHARE = 0.005
MAX_GROUP_VALUES = 1 << 20
"""A group of more than one image has no more values than this: it bounds what a reader needs besides the pixels."""


@dataclass(frozen=True)
class FittedTables:
    """Tables, the number of each cell's table (uint8 [MODES * CONTEXTS]), and the bytes of all symbols coded so."""

    tables: tuple[FrequencyTable, ...]
    table_of_cell: NDArray[np.uint8]
    symbols_bytes: float


def fit_tables(counts: CorrectionCounts) -> FittedTables:
    """The tables with which symbols, tables and the map of cells take the fewest bytes."""
    cells = np.flatnonzero(counts.symbols.any(axis=1))
    symbols = int(np.flatnonzero(counts.symbols.any(axis=0))[-1]) + 1
    seen = counts.symbols[cells, :symbols]
    candidates = []
    for table_bits in _TABLE_BITS:
        numbers = merge_cells(seen, table_bits)
        merged = np.zeros((int(numbers.max()) + 1, symbols), np.int64)
        np.add.at(merged, numbers, seen)
        table_of_cell = _table_of_cell(cells, numbers)
        stored_bytes, tables, symbols_bytes = _best_tables(merged)
        stored_bytes += len(pack_map(table_of_cell, len(tables)))
        candidates.append((stored_bytes + symbols_bytes, FittedTables(tables, table_of_cell, symbols_bytes)))
    return min(candidates, key=lambda candidate: candidate[0])[1]


def _best_tables(counts: NDArray[np.int64]) -> tuple[float, tuple[FrequencyTable, ...], float]:
    """Tables for counts int64 [tables, symbols], all of the precision that pays best; their bytes, the symbols'."""
    needed = int(np.count_nonzero(counts, axis=1).max() - 1).bit_length()
    candidates = []
    for precision in _PRECISIONS:
        if precision >= needed:
            tables = tuple(FrequencyTable.from_counts(row, precision) for row in counts)
            symbols_bytes = sum(table.cost_bits(row) for table, row in zip(tables, counts, strict=True)) / 8
            packed = pack_tables(np.stack([table.frequencies for table in tables]), precision)
            candidates.append((float(len(packed)), tables, symbols_bytes))
    return min(candidates, key=lambda candidate: candidate[0] + candidate[2])


def _table_of_cell(cells: NDArray[np.intp], numbers: NDArray[np.intp]) -> NDArray[np.uint8]:
    """The map of all cells: those of a mode that occurs, but never seen, take the table of the one before them."""
    table_of_cell = np.full(MODES * CONTEXTS, NO_TABLE, np.uint8)
    table_of_cell[cells] = numbers
    for mode in np.unique(cells // CONTEXTS).tolist():
        own = table_of_cell[mode * CONTEXTS : (mode + 1) * CONTEXTS]  # a view
        seen = np.flatnonzero(own != NO_TABLE)
        if mode not in STORED:
            own[:] = own[seen[np.maximum(np.searchsorted(seen, np.arange(CONTEXTS), side="right") - 1, 0)]]
    return table_of_cell


def choose_group_images(bytes_per_image: float, values_per_image: int) -> int:
    """The fewest images to a group at which groups cost next to nothing, so that one image is soon decoded."""
    most = _USUAL_GROUP_IMAGES
    while most < 1024 and 2 * most * values_per_image <= _TINY_GROUP_VALUES:
        most *= 2
    while most > 1 and most * values_per_image > MAX_GROUP_VALUES:
        most //= 2
    group = min(_LEAST_GROUP_IMAGES, most)
    while group < most and group * bytes_per_image * _GROUP_OVERHEAD_SHARE < _GROUP_OVERHEAD_BYTES:
        group *= 2
    return group
