"""Token priors, which all kinds of decoder use: probabilities of tokens before they are decoded, in stored integers.

    TablePrior      a frequency table for all positions, or one for each
    NetworkPrior    a small network that looks at tokens decoded before

A prior codes one group of symbols at a time: the tokens of some images at one position. The prior of a decoder kind
decides which groups there are, their order, and the features that a network looks at (`smalti.decoders`).

Layer: within `entropy`, above `coder`.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from smalti.entropy.coder import StackEncoder, SymbolDecoder, Weights, pack_tables, unpack_tables
from smalti.entropy.frequency import FrequencyTable
from smalti.errors import ModelError, UsageError
from smalti.lazy import cached_property

__all__ = [
    "EXACT_EXP",
    "EXP",
    "FARTHEST",
    "MAX_POSITION_CELLS",
    "SIXTEENTHS",
    "UNITS",
    "Features",
    "NetworkPrior",
    "PositionPrior",
    "TablePrior",
    "needed_precision",
    "share_units",
]

UNITS = 1 << 24
FARTHEST = 255

# round(2**16 * 2**(-j / 16)) for j = 0 to 15
SIXTEENTHS = (
    65536, 62757, 60097, 57549, 55109, 52773, 50535, 48393,
    46341, 44376, 42495, 40693, 38968, 37316, 35734, 34219,
)  # fmt: skip

EXP: NDArray[np.int64] = np.array([SIXTEENTHS[e % 16] >> e // 16 for e in range(FARTHEST + 1)], np.int64)
"""Weight of a code, by the distance of its score from the best one."""

EXACT_EXP = EXP.astype(np.float64)

MAX_POSITION_CELLS = 1 << 22  # tables x codes of a prior: bounds the memory of a reader and a writer
MAX_HIDDEN = (1 << 16) - 1
MOST_HIDDEN = 255
"""The largest hidden value of a NetworkPrior."""

MAX_SHIFT = 24
_EXACT = 1 << 24  # sums of integers up to this magnitude are exact in float32
_PIECE_NUMBERS = 1 << 14  # weights, features or hidden values at a time, so that they stay in the caches (measured)
_PRECISIONS = (8, 10, 12, 14, 16)

Values = NDArray[Any]
"""Whole numbers as floating-point numbers."""

Features = Callable[[slice], Values]
"""Given k of a group's images, their features [k, F]."""


class PositionPrior(Protocol):
    """Distributions of the tokens at the positions of a grid. `position` counts them row by row."""

    @property
    def codes(self) -> int:
        """K, the number of codes."""

    @property
    def rows(self) -> int:
        """P: 1, or the number of positions that have parameters of their own."""

    def push(self, encoder: StackEncoder, position: int, symbols: NDArray[np.integer], features: Features) -> None:
        """Encode a group of symbols, integers [n] in [0, K); UsageError if one cannot be coded."""

    def take(self, decoder: SymbolDecoder, position: int, count: int, features: Features) -> NDArray[np.int32]:
        """Decode a group of `count` symbols, int32 [count]."""

    def cost_bits(self, position: int, symbols: NDArray[np.integer], features: Features) -> NDArray[np.float64]:
        """Bits of each symbol, float64 [n]; infinite if it cannot be coded."""


@dataclass(frozen=True, eq=False)
class TablePrior:
    """Stored frequencies: one table for all positions, or one for each.

    tables : uint32 [P, K], P = 1 or positions; each row sums to 2**precision, and codes of frequency 0 cannot be coded
    precision : 0 to 24

    Raises ModelError if this is not so.
    """

    tables: NDArray[np.uint32]
    precision: int

    def __post_init__(self) -> None:
        if self.tables.ndim != 2 or not 1 <= self.tables.size <= MAX_POSITION_CELLS:
            raise ModelError(f"tables are {list(self.tables.shape)}, not [positions, codes]")
        try:
            _ = self.frequency_tables
        except UsageError as error:
            raise ModelError(str(error)) from error

    @classmethod
    def from_counts(cls, counts: NDArray[np.int64], precision: int) -> "TablePrior":
        """Round counts int64 [P, K] to tables, and raise errors, as `FrequencyTable.from_counts` does."""
        return cls(np.stack([FrequencyTable.from_counts(row, precision).frequencies for row in counts]), precision)

    @classmethod
    def candidates(cls, counts: NDArray[np.int64], further: Iterable[int] = ()) -> Iterator["TablePrior"]:
        """Tables for counts int64 [P, K] at each sensible precision. further : more precisions to try"""
        needed = needed_precision(counts)
        for precision in sorted({*_PRECISIONS, *further}):
            if precision >= needed:
                yield cls.from_counts(counts, precision)

    @property
    def codes(self) -> int:
        """K."""
        return int(self.tables.shape[1])

    @property
    def rows(self) -> int:
        """P."""
        return len(self.tables)

    def push(self, encoder: StackEncoder, position: int, symbols: NDArray[np.integer], features: Features) -> None:
        """Encode a group with the table of its position."""
        del features
        encoder.push(symbols, self._table(position))

    def take(self, decoder: SymbolDecoder, position: int, count: int, features: Features) -> NDArray[np.int32]:
        """Decode a group with the table of its position."""
        del features
        return decoder.take(count, self._table(position))

    def cost_bits(self, position: int, symbols: NDArray[np.integer], features: Features) -> NDArray[np.float64]:
        """Bits of each symbol under the table of its position."""
        del features
        with np.errstate(divide="ignore"):
            of_code = self.precision - np.log2(self._table(position).frequencies.astype(np.float64))
        bits: NDArray[np.float64] = of_code[symbols]
        return bits

    def counted_bits(self, counts: NDArray[np.int64]) -> float:
        """Bits that symbols with these counts, int64 [P, K], cost."""
        return sum(table.cost_bits(row) for table, row in zip(self.frequency_tables, counts, strict=True))

    def to_bytes(self) -> bytes:
        """Serialise the frequencies, without their number. `from_bytes` is the inverse."""
        return pack_tables(self.tables, self.precision)

    @classmethod
    def from_bytes(cls, data: bytes, rows: int, codes: int, precision: int) -> "TablePrior":
        """Read the bytes of `to_bytes`. DamagedArchiveError, or ModelError if a row is no table."""
        return cls(unpack_tables(data, rows, codes, precision), precision)

    @cached_property
    def frequency_tables(self) -> tuple[FrequencyTable, ...]:
        """The rows as tables to code with."""
        return tuple(FrequencyTable(row, self.precision) for row in self.tables)

    def _table(self, position: int) -> FrequencyTable:
        return self.frequency_tables[position if self.rows > 1 else 0]


def needed_precision(counts: NDArray[np.int64]) -> int:
    """The lowest precision at which every code with a count gets a unit in its row."""
    return int(np.count_nonzero(counts, axis=1).max() - 1).bit_length()


@dataclass(frozen=True, eq=False)
class NetworkPrior:
    """An integer network with one hidden layer: from features of tokens decoded before to scores of codes.

        hidden = min(max(floor((bias1[p] + features @ weight1) / 2**shift1), 0), 255)
        scores = floor((bias2 + hidden @ weight2) / 2**shift2)                              in units of 1/16 bit

    weight1 : int16 [F, H], weight2 : int16 [H, K], both within int8
    bias1 : int32 [P, H], P = 1 or positions    bias2 : int32 [K]    shift1, shift2 : 0 to 24

    Raises ModelError if the shapes do not fit each other, or if a sum could leave the range in which it is exact.
    """

    weight1: NDArray[np.int16]
    bias1: NDArray[np.int32]
    shift1: int
    weight2: NDArray[np.int16]
    bias2: NDArray[np.int32]
    shift2: int

    def __post_init__(self) -> None:
        dtypes = {"weight1": np.int16, "bias1": np.int32, "weight2": np.int16, "bias2": np.int32}
        shapes = {"weight1": (-1, self.hidden), "bias1": (-1, self.hidden), "weight2": (-1, self.codes), "bias2": (-1,)}
        for name, dtype in dtypes.items():
            array: NDArray[np.integer] = getattr(self, name)
            if array.dtype != dtype or array.ndim != len(shapes[name]) or not array.size:
                raise ModelError(f"{name} is {array.dtype} {list(array.shape)}, not {np.dtype(dtype)} {shapes[name]}")
            if array.size > MAX_POSITION_CELLS:
                raise ModelError(f"{name} of {array.size} numbers; {MAX_POSITION_CELLS} are the most")
        if self.weight1.shape[1] != self.hidden or self.bias1.shape[1] != self.hidden or self.hidden > MAX_HIDDEN:
            raise ModelError(f"{self.weight1.shape[1]}, {self.bias1.shape[1]} and {self.hidden} hidden numbers")
        if self.weight2.shape[1] != self.codes:
            raise ModelError(f"weights of {self.weight2.shape[1]} codes, biases of {self.codes}")
        for weight in (self.weight1, self.weight2):
            if not -128 <= int(weight.min()) <= int(weight.max()) <= 127:
                raise ModelError("weights of a prior are outside int8")
        if not (0 <= self.shift1 <= MAX_SHIFT and 0 <= self.shift2 <= MAX_SHIFT):
            raise ModelError(f"shifts {self.shift1} and {self.shift2} are outside 0..{MAX_SHIFT}")
        largest = MOST_HIDDEN * np.abs(self.weight2).sum(axis=0, dtype=np.int64) + np.abs(self.bias2.astype(np.int64))
        if int(largest.max()) > _EXACT:
            raise ModelError("the scores of a prior may exceed 2**24 and would not be exact")

    @property
    def codes(self) -> int:
        """K."""
        return len(self.bias2)

    @property
    def rows(self) -> int:
        """P."""
        return len(self.bias1)

    @property
    def features(self) -> int:
        """F."""
        return len(self.weight1)

    @property
    def hidden(self) -> int:
        """H."""
        return len(self.weight2)

    def check(self, magnitudes: NDArray[np.int64]) -> None:
        """Raise ModelError if the network does not fit features of these largest magnitudes, int64 [F]."""
        if len(magnitudes) != self.features:
            raise ModelError(f"a prior of {self.features} features, not {len(magnitudes)}")
        sums = magnitudes @ np.abs(self.weight1.astype(np.int64))
        if int((sums + np.abs(self.bias1.astype(np.int64))).max()) > _EXACT:
            raise ModelError("the hidden sums of a prior may exceed 2**24 and would not be exact")

    def push(self, encoder: StackEncoder, position: int, symbols: NDArray[np.integer], features: Features) -> None:
        """Encode a group with the network's distributions."""
        if self.codes > 1:
            for chunk in reversed(list(self._chunks(len(symbols)))):
                encoder.push_each(symbols[chunk], self.weights(position, features(chunk)))

    def take(self, decoder: SymbolDecoder, position: int, count: int, features: Features) -> NDArray[np.int32]:
        """Decode a group with the network's distributions."""
        symbols = np.zeros(count, np.int32)
        if self.codes > 1:
            for chunk in self._chunks(count):
                symbols[chunk] = decoder.take_each(self.weights(position, features(chunk)))
        return symbols

    def cost_bits(self, position: int, symbols: NDArray[np.integer], features: Features) -> NDArray[np.float64]:
        """Bits of each symbol under the network's distributions."""
        bits = np.zeros(len(symbols))
        for chunk in self._chunks(len(symbols)) if self.codes > 1 else ():
            weights = self.weights(position, features(chunk))
            units = weights[np.arange(len(weights)), symbols[chunk]].astype(np.float64) + 1
            bits[chunk] = np.log2(UNITS / units)
        return bits

    def weights(self, position: int, features: Values) -> Weights:
        """The distribution for each row of features [n, F]: float32 [n, K], K >= 2."""
        weight1, weight2 = self._matrices
        hidden = features @ weight1
        hidden += self.bias1[position if self.rows > 1 else 0].astype(np.float32)
        _shift_down(hidden, self.shift1)
        np.clip(hidden, 0, MOST_HIDDEN, out=hidden)
        scores = hidden @ weight2
        scores += self.bias2.astype(np.float32)
        _shift_down(scores, self.shift2)
        return share_units(scores)

    @cached_property
    def _matrices(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return self.weight1.astype(np.float32), self.weight2.astype(np.float32)

    def _chunks(self, count: int) -> Iterator[slice]:
        """Cut a group into chunks of bounded memory."""
        step = max(1, _PIECE_NUMBERS // max(self.codes, self.features, self.hidden))
        for start in range(0, count, step):
            yield slice(start, start + step)


def _shift_down(sums: Values, shift: int) -> None:
    """Set sums to floor(sums / 2**shift), exactly: it is a product with a power of two."""
    if shift:
        np.multiply(sums, np.float32(2.0**-shift), out=sums)
        np.floor(sums, out=sums)


def share_units(scores: NDArray[Any]) -> Weights:
    """Units less one of each code, float32 [n, K], for scores [n, K]: whole numbers within 2**24, K >= 2.

    A score is in units of 1/16 bit. With e the distance to the best score, at most 255, a code has the weight EXP[e],
    which is 2**16 * 2**(-e / 16) by listed integers and shifts. The 2**24 units of the coder are shared in proportion:

        units_k = 1 + floor(w_k * (2**24 - K) / sum of w)         the first code of the best score gets the rest

    All numbers are whole and exact. Products are below 2**40 in float64. The floor of their rounded quotient is the
    floor of the true one, because a quotient below 2**24 of such numbers is further from a whole number than the
    rounding can move it.
    """
    codes = scores.shape[1]
    distances = scores.max(axis=1, keepdims=True) - scores
    best = distances.argmin(axis=1)
    np.minimum(distances, FARTHEST, out=distances)
    shares = EXACT_EXP.take(distances.astype(np.intp))
    total = shares.sum(axis=1, keepdims=True)
    shares *= UNITS - codes
    shares /= total
    np.floor(shares, out=shares)
    shares[np.arange(len(shares)), best] += (UNITS - codes) - shares.sum(axis=1)
    weights: Weights = shares.astype(np.float32)
    return weights
