"""Cells that share a frequency table: as few tables as pay for themselves. Only the writer needs this."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_TABLES", "merge_cells"]

MAX_TABLES = 255
_BITS_PER_ENTRY = 7.0  # what a table pays for each symbol that it can code


def merge_cells(counts: NDArray[np.int64], table_bits: float) -> NDArray[np.intp]:
    """Put cells together, two groups at a time, as long as tables and symbols together become smaller.

    counts : int64 [cells, symbols], no row all 0
    table_bits : what a table costs, besides its entries and the symbols coded with it

    Returns the number of each cell's group, [cells], counted from 0 in the order of their first cells. This is
    greedy agglomeration by description length, as coders of contexts have long done (JPEG XL's histograms).
    """
    groups = _Groups(counts, table_bits)
    while True:
        first, second, gain = groups.best_pair()
        if gain <= 0 and groups.alive <= MAX_TABLES:
            return groups.numbers()
        groups.join(first, second)


class _Groups:
    """Groups of cells, and what joining each two of them would save in bits (-inf: itself, or gone)."""

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
        """The two groups to join next, the lower one first, and what it saves."""
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
    """Bits of each row's symbols under their own frequencies, and of a table's entries for these."""
    information = _xlogx(counts.sum(axis=1)) - _xlogx(counts).sum(axis=1)
    bits: NDArray[np.float64] = information + _BITS_PER_ENTRY * np.count_nonzero(counts, axis=1)
    return bits


def _xlogx(values: NDArray[np.float64]) -> NDArray[np.float64]:
    products: NDArray[np.float64] = values * np.log2(np.maximum(values, 1.0))
    return products
