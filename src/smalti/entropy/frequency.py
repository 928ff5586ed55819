"""A distribution over symbols as stored integers. No other kind of probability ever codes a token.

It makes tables. `coder` codes with them and stores them.

Layer: within `entropy`, the lowest.
"""

from dataclasses import dataclass
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from smalti.errors import UsageError
from smalti.lazy import cached_property

__all__ = ["MAX_PRECISION", "FrequencyTable"]

MAX_PRECISION = 24  # the fixed-point precision of constriction's models; they would round a finer table
_MAX_SYMBOLS = 1 << 16


@dataclass(frozen=True, eq=False)
class FrequencyTable:
    """The probability of each symbol, in units of 2**-precision.

    frequencies : uint32 [S], S from 1 to 65,536; they sum to 2**precision, and symbols of frequency 0 cannot be coded
    precision : int from 0 to 24

    Raises UsageError if this is not so.
    """

    frequencies: NDArray[np.uint32]
    precision: int

    def __post_init__(self) -> None:
        if not 0 <= self.precision <= MAX_PRECISION:
            raise UsageError(f"frequency table: precision {self.precision} is outside 0..{MAX_PRECISION}")
        table = self.frequencies
        if table.ndim != 1 or table.dtype != np.uint32 or not 1 <= len(table) <= _MAX_SYMBOLS:
            raise UsageError(
                f"frequency table: expected uint32 [1..{_MAX_SYMBOLS}], got {table.dtype} {list(table.shape)}"
            )
        total = int(table.sum(dtype=np.uint64))
        if total != 1 << self.precision:
            raise UsageError(f"frequency table: frequencies sum to {total}, not to 2**{self.precision}")

    @classmethod
    def from_counts(cls, counts: NDArray[np.int64], precision: int) -> "FrequencyTable":
        """Round counts to a table, in integers alone, so that every machine makes the same one.

        Every symbol with a count gets a frequency of at least 1, every other gets 0. The rest is shared by the method
        of largest remainders; ties go to the lower symbol.

        counts : int64 [S], each >= 0, not all 0

        Raises UsageError for other counts, or if more than 2**precision symbols have a count.
        """
        if not 0 <= precision <= MAX_PRECISION:
            raise UsageError(f"frequency table: precision {precision} is outside 0..{MAX_PRECISION}")
        if counts.ndim != 1 or (counts < 0).any() or not counts.any():
            raise UsageError("frequency table: counts must be one row of numbers >= 0, and not all of them 0")
        seen = np.flatnonzero(counts)
        if len(seen) > 1 << precision:
            raise UsageError(f"frequency table: {len(seen)} symbols do not fit in 2**{precision} units")
        frequencies = np.zeros(len(counts), np.uint32)
        frequencies[seen] = _apportion(counts[seen].astype(np.int64), 1 << precision)
        return cls(frequencies, precision)

    @cached_property
    def symbols(self) -> NDArray[np.int32]:
        """The symbols that can be coded, ascending, int32 [number of nonzero frequencies]."""
        return np.flatnonzero(self.frequencies).astype(np.int32)

    @cached_property
    def coder_model(self) -> Any:
        """constriction's model over the indices of `symbols`, or None if only one symbol can be coded.

        constriction takes floats, gives each symbol one unit of 2**-24 and shares the rest in proportion. So each
        weight is the number of units that a symbol should get, less one. The weights then sum to exactly the units to
        share, the scale is exactly 1.0, and the fixed-point model is the table itself, without rounding on any machine
        (docs/decisions/0002-entropy-coder.md).
        """
        if len(self.symbols) < 2:
            return None
        units = self.frequencies[self.symbols].astype(np.float64) * float(1 << (MAX_PRECISION - self.precision))
        return constriction.stream.model.Categorical(units - 1.0, perfect=False)

    def cost_bits(self, counts: NDArray[np.int64]) -> float:
        """Bits that symbols with these counts, int64 [S], cost under this table; infinite if one has frequency 0."""
        seen = np.flatnonzero(counts)
        frequencies = self.frequencies[seen].astype(np.float64)
        if (frequencies == 0).any():
            return float("inf")
        return float(counts[seen] @ (self.precision - np.log2(frequencies)))


def _apportion(counts: NDArray[np.int64], units: int) -> NDArray[np.int64]:
    """Share `units` in proportion to `counts` (all > 0), at least one each, by largest remainders."""
    while int(counts.sum()) > 1 << (62 - MAX_PRECISION):  # so that counts * units stays within int64
        counts = np.maximum(counts >> 1, 1)
    total = int(counts.sum())
    quota = counts * units
    shares, remainders = quota // total, quota % total
    remainders[shares == 0] = -1  # these are lifted to one unit, which is more than their share already
    shares = np.maximum(shares, 1)
    missing = units - int(shares.sum())
    if missing > 0:
        shares[np.argsort(-remainders, kind="stable")[:missing]] += 1
    while missing < 0:  # the lifted symbols took units, which the frequent ones give back in proportion
        spare = shares - 1
        give = np.maximum(spare * -missing // int(spare.sum()), 0)
        if not give.any():
            give[np.argsort(-spare, kind="stable")[:-missing]] = 1
        shares -= give
        missing = units - int(shares.sum())
    return shares
