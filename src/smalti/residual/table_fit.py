"""From counts to the frequency tables that make residuals smallest, including the bytes of the tables.

Cells share tables: there are as few tables as pay for themselves. Only the writer needs this; floats may decide.

Layer: within `residual`, above `residual_packing` and `residuals`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smalti.entropy.priors import TablePrior
from smalti.residual.modes import CONTEXTS, MODES, STORED
from smalti.residual.residual_packing import NO_TABLE, pack_map
from smalti.residual.residuals import ResidualCounts

__all__ = ["MAX_GROUP_VALUES", "MAX_TABLES", "FittedTables", "choose_group_images", "fit_tables", "merge_cells"]


MAX_TABLES = 255
_BITS_PER_ENTRY = 7.0  # assumed cost of a table for each symbol that it can code


def merge_cells(counts: NDArray[np.int64], table_bits: float) -> NDArray[np.intp]:
    """Merge cells into groups, two groups at a time, as long as tables and symbols together become smaller.

    counts : int64 [cells, symbols], no row all 0
    table_bits : assumed cost of a table, without its entries and the symbols that it codes

    Returns the index of each cell's group, [cells]; groups are in the order of their first cells. This is greedy
    agglomeration by description length, as context coders have long done (JPEG XL's histograms).
    """
    groups = _CellGroups(counts, table_bits)
    while True:
        first, second, gain = groups.best_pair()
        if gain <= 0 and groups.alive <= MAX_TABLES:
            return groups.numbers()
        groups.join(first, second)


class _CellGroups:
    """Groups of cells. gains : bits saved by joining each pair of groups; -inf for a group with itself or a gone one"""

    def __init__(self, counts: NDArray[np.int64], table_bits: float) -> None:
        self._table_bits = table_bits
        self.counts = counts.astype(np.float64)
        self.bits = _bits(self.counts)
        self.member_of = np.arange(len(counts))
        self.alive = len(counts)
        self.gains = np.stack([self._gains_of(row) for row in range(len(counts))])

    def _gains_of(self, row: int) -> NDArray[np.float64]:
        gains: NDArray[np.float64] = self.bits + self.bits[row] - _bits(self.counts + self.counts[row])
        gains += self._table_bits
        gains[row] = -np.inf
        gains[~np.isfinite(self.bits)] = -np.inf
        return gains

    def best_pair(self) -> tuple[int, int, float]:
        """The two groups to join next, the lower one first, and the bits that this saves."""
        first, second = divmod(int(np.argmax(self.gains)), len(self.gains))
        return first, second, float(self.gains[first, second])

    def join(self, first: int, second: int) -> None:
        self.counts[first] += self.counts[second]
        self.bits[second] = -np.inf
        self.bits[first] = _bits(self.counts[first : first + 1])[0]
        self.member_of[self.member_of == second] = first
        self.alive -= 1
        self.gains[second, :] = self.gains[:, second] = -np.inf
        self.gains[first, :] = self.gains[:, first] = self._gains_of(first)

    def numbers(self) -> NDArray[np.intp]:
        inverse: NDArray[np.intp] = np.unique(self.member_of, return_inverse=True)[1].ravel()
        return inverse


def _bits(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bits of each row: of its symbols under their own frequencies, and of the entries of its table."""
    information = _xlogx(counts.sum(axis=1)) - _xlogx(counts).sum(axis=1)
    bits: NDArray[np.float64] = information + _BITS_PER_ENTRY * np.count_nonzero(counts, axis=1)
    return bits


def _xlogx(values: NDArray[np.float64]) -> NDArray[np.float64]:
    products: NDArray[np.float64] = values * np.log2(np.maximum(values, 1.0))
    return products


_TABLE_BITS = (20.0, 80.0, 400.0)  # assumed costs of a table, all of them tried: for few data, few tables are best
_LEAST_GROUP_IMAGES = 16
_USUAL_GROUP_IMAGES = 64
_TINY_GROUP_VALUES = 1 << 14  # groups of tiny images may have more images, up to this number of values
_GROUP_OVERHEAD_BYTES = 7  # a length, and the unused bits of an entropy coder
_GROUP_OVERHEAD_SHARE = 0.005
MAX_GROUP_VALUES = 1 << 20
"""The largest number of values of a group of several images. It bounds a reader's memory besides the pixels."""


@dataclass(frozen=True)
class FittedTables:
    """Tables, the table of each cell (uint8 [MODES * CONTEXTS]), and the bytes of all symbols coded with them."""

    tables: TablePrior
    table_of_cell: NDArray[np.uint8]
    symbols_bytes: float


def fit_tables(counts: ResidualCounts) -> FittedTables:
    """The tables for which symbols, tables and the map of cells together take the fewest bytes."""
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
        stored_bytes += len(pack_map(table_of_cell, tables.rows))
        candidates.append((stored_bytes + symbols_bytes, FittedTables(tables, table_of_cell, symbols_bytes)))
    return min(candidates, key=lambda candidate: candidate[0])[1]


def _best_tables(counts: NDArray[np.int64]) -> tuple[float, TablePrior, float]:
    """For counts int64 [tables, symbols]: bytes of tables, tables of the best precision, bytes of symbols."""
    candidates = [
        (float(len(tables.to_bytes())), tables, tables.counted_bits(counts) / 8)
        for tables in TablePrior.candidates(counts)
    ]
    return min(candidates, key=lambda candidate: candidate[0] + candidate[2])


def _table_of_cell(cells: NDArray[np.intp], numbers: NDArray[np.intp]) -> NDArray[np.uint8]:
    """The table of each cell. An unseen cell of a mode that occurs shares the table of the seen cell before it."""
    table_of_cell = np.full(MODES * CONTEXTS, NO_TABLE, np.uint8)
    table_of_cell[cells] = numbers
    for mode in np.unique(cells // CONTEXTS).tolist():
        own = table_of_cell[mode * CONTEXTS : (mode + 1) * CONTEXTS]  # a view
        seen = np.flatnonzero(own != NO_TABLE)
        if mode not in STORED:
            own[:] = own[seen[np.maximum(np.searchsorted(seen, np.arange(CONTEXTS), side="right") - 1, 0)]]
    return table_of_cell


def choose_group_images(bytes_per_image: float, values_per_image: int) -> int:
    """The fewest images of a group at which groups cost next to nothing, so that one image decodes fast."""
    most = _USUAL_GROUP_IMAGES
    while most < 1024 and 2 * most * values_per_image <= _TINY_GROUP_VALUES:
        most *= 2
    while most > 1 and most * values_per_image > MAX_GROUP_VALUES:
        most //= 2
    group = min(_LEAST_GROUP_IMAGES, most)
    while group < most and group * bytes_per_image * _GROUP_OVERHEAD_SHARE < _GROUP_OVERHEAD_BYTES:
        group *= 2
    return group
