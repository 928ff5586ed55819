"""Arrays of integers as entropy-coded symbols, for numbers that are mostly small and now and then large.

A magnitude m is split into a symbol, which a table codes, and the bits below it, which cost one bit each:

    symbol(m) = m                                   for m < 8
    symbol(m) = 4 * (e - 2) + (m >> (e - 3)) % 4    for m of e >= 4 binary digits; e - 3 bits are left

So a table is short whatever the range, and the values of one symbol are nearly alike in frequency.

Layer: within `entropy`, above `coder`.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from smalti.entropy.coder import SymbolDecoder, SymbolEncoder, pack_tables, unpack_tables
from smalti.entropy.frequency import FrequencyTable
from smalti.errors import DamagedArchiveError, UsageError

__all__ = ["MAX_SYMBOLS", "IntegerReader", "IntegerWriter", "bits_below", "to_symbols"]

MAX_SYMBOLS = 96
"""The number of symbols for magnitudes of up to 25 binary digits. A network holds no magnitude above 2**24."""

_COIN = FrequencyTable(np.ones(2, np.uint32), 1)


class IntegerWriter:
    """Collects arrays of integers. `IntegerReader` reads them in the same order.

    precision : of every table, as in FrequencyTable
    """

    def __init__(self, precision: int) -> None:
        self._precision = precision
        self._encoder = SymbolEncoder()
        self._tables: list[FrequencyTable] = []

    @property
    def tables(self) -> int:
        """The number of tables so far, one for every group."""
        return len(self._tables)

    @property
    def symbols(self) -> int:
        """The number of symbols of every table."""
        return max(len(table.frequencies) for table in self._tables)

    def add(self, values: NDArray[np.integer], groups: NDArray[np.integer] | None = None, signed: bool = False) -> None:
        """Append values (integers [n], n > 0, magnitudes below 2**25).

        groups : integers [n]; the values of a group share a table, and groups are coded in ascending order
        signed : whether values may be negative
        """
        magnitudes = np.abs(values.astype(np.int64))
        symbols = to_symbols(magnitudes)
        for members in _members(groups, len(values)):
            table = FrequencyTable.from_counts(np.bincount(symbols[members]).astype(np.int64), self._precision)
            self._tables.append(table)
            self._encoder.add(symbols[members], table)
        below = bits_below(symbols)
        for plane in range(int(below.max())):
            self._encoder.add(magnitudes[below > plane] >> plane & 1, _COIN)
        if signed:
            self._encoder.add((values[magnitudes > 0] < 0).astype(np.int64), _COIN)

    def finish(self) -> tuple[bytes, bytes]:
        """The tables and the coded symbols."""
        rows = np.zeros((self.tables, self.symbols), np.uint32)
        for row, table in zip(rows, self._tables, strict=True):
            row[: len(table.frequencies)] = table.frequencies
        return pack_tables(rows, self._precision), self._encoder.finish()


class IntegerReader:
    """Reads the arrays of an IntegerWriter. DamagedArchiveError if the bytes are not its own.

    tables, symbols, precision : those of the writer
    """

    def __init__(self, packed: bytes, coded: bytes, tables: int, symbols: int, precision: int) -> None:
        try:
            rows = [FrequencyTable(row, precision) for row in unpack_tables(packed, tables, symbols, precision)]
        except UsageError as error:
            raise DamagedArchiveError(f"network: {error}") from error
        self._tables = iter(rows)
        self._decoder = SymbolDecoder(coded)

    def take(self, count: int, groups: NDArray[np.integer] | None = None, signed: bool = False) -> NDArray[np.int64]:
        """The next array, int64 [count]. groups, signed : as the writer got them"""
        symbols = np.empty(count, np.int64)
        for members in _members(groups, count):
            size = count if isinstance(members, slice) else int(members.sum())
            symbols[members] = self._decoder.take(size, self._next_table())
        below = bits_below(symbols)
        values = np.where(symbols < 8, symbols, (4 + symbols % 4) << below)
        for plane in range(int(below.max())):
            owners = below > plane
            values[owners] |= self._decoder.take(int(owners.sum()), _COIN).astype(np.int64) << plane
        if signed:
            owners = values > 0
            values[owners] *= 1 - 2 * self._decoder.take(int(owners.sum()), _COIN)
        return values

    def finish(self) -> None:
        """Raise DamagedArchiveError unless every table and every bit was used."""
        if next(self._tables, None) is not None:
            raise DamagedArchiveError("network: a table that codes nothing")
        self._decoder.finish()

    def _next_table(self) -> FrequencyTable:
        table = next(self._tables, None)
        if table is None:
            raise DamagedArchiveError("network: too few tables")
        return table


def to_symbols(magnitudes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The symbol of each magnitude (>= 0, below 2**25)."""
    digits = np.frexp(magnitudes.astype(np.float64))[1].astype(np.int64)  # exact below 2**53
    return np.where(magnitudes < 8, magnitudes, 4 * (digits - 2) + (magnitudes >> np.maximum(digits - 3, 0)) % 4)


def bits_below(symbols: NDArray[np.int64]) -> NDArray[np.int64]:
    """The number of bits of a magnitude that its symbol leaves open."""
    return np.maximum(symbols // 4 - 1, 0)


def _members(groups: NDArray[np.integer] | None, count: int) -> Iterator[NDArray[np.bool_] | slice]:
    """The positions of each group's values, in ascending order of groups."""
    if groups is None:
        yield slice(0, count)
    else:
        for group in np.flatnonzero(np.bincount(groups)):
            yield groups == group
