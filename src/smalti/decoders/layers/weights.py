"""Arrays of weights as entropy-coded symbols: rows and channels differ in size, so weights of one size share a table.

Each row (input) and each channel (output) has a level, in half octaves, and weights of equal level (row + channel)
share a table.
"""

from math import prod

import numpy as np
from numpy.typing import NDArray

from smalti.entropy.frequency import FrequencyTable
from smalti.entropy.integers import IntegerReader, IntegerWriter, to_symbols
from smalti.entropy.tables import pack_tables
from smalti.errors import DamagedArchiveError

__all__ = ["MAX_WEIGHT_TABLES", "Levels", "choose_levels", "in_range", "read_weights", "write_weights"]

MAX_LEVEL = 15
MAX_WEIGHT_TABLES = 33
"""The most tables that an array of weights takes: one for each kind of level, one for each of 31 groups."""

_COST_PRECISION = 8

Levels = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Of the rows and of the channels."""


def write_weights(writer: IntegerWriter, weight: NDArray[np.int16], levels: Levels) -> None:
    """Append weights int16 [rows, ..., channels] with the levels that `choose_levels` gave them."""
    for each in levels:
        writer.add(each)
    writer.add(weight.ravel(), _groups(weight.shape, levels), signed=True)


def read_weights(reader: IntegerReader, shape: tuple[int, ...], low: int, high: int) -> NDArray[np.int16]:
    """Read back what `write_weights` wrote; DamagedArchiveError if a weight is outside low..high."""
    rows, channels = (in_range(reader.take(size), 0, MAX_LEVEL, "level") for size in (shape[0], shape[-1]))
    weights = reader.take(prod(shape), _groups(shape, (rows, channels)), signed=True)
    return in_range(weights, low, high, "weight").astype(np.int16).reshape(shape)


def in_range(values: NDArray[np.int64], low: int, high: int, what: str) -> NDArray[np.int64]:
    """The same values; DamagedArchiveError if one is outside low..high."""
    if int(values.min()) < low or int(values.max()) > high:
        raise DamagedArchiveError(f"network: a {what} is outside {low}..{high}")
    return values


def choose_levels(weight: NDArray[np.int16]) -> Levels:
    """Levels of rows and of channels; all 0 along an axis where telling them apart does not pay."""
    magnitudes = np.abs(weight.astype(np.int64))
    axes = tuple(range(weight.ndim))
    rows, channels = _half_octaves(magnitudes.sum(axis=axes[1:])), _half_octaves(magnitudes.sum(axis=axes[:-1]))
    symbols = to_symbols(magnitudes.ravel())
    choices = [(row, channel) for row in (0 * rows, rows) for channel in (0 * channels, channels)]
    return min(choices, key=lambda levels: _cost_bits(symbols, _groups(weight.shape, levels), levels))


def _groups(shape: tuple[int, ...], levels: Levels) -> NDArray[np.uint8]:
    """The group of each weight, in the order of the weights: level of its row + level of its channel."""
    rows, channels = levels
    sums = (rows.reshape(-1, *[1] * (len(shape) - 1)) + channels).astype(np.uint8)
    return np.broadcast_to(sums, shape).ravel()


def _half_octaves(sums: NDArray[np.int64]) -> NDArray[np.int64]:
    """floor(2 * log2(sum)), counted from the largest, which is at MAX_LEVEL; nothing is below 0."""
    fraction, exponent = np.frexp(sums.astype(np.float64))
    levels: NDArray[np.int64] = 2 * exponent.astype(np.int64) + (fraction >= 0.5**0.5)
    return np.maximum(levels - int(levels.max()) + MAX_LEVEL, 0)


def _cost_bits(symbols: NDArray[np.int64], groups: NDArray[np.uint8], levels: Levels) -> float:
    """About what weights, their tables and their levels cost; bits that cost the same either way are left out."""
    counts = [np.bincount(symbols[groups == group], minlength=64) for group in np.flatnonzero(np.bincount(groups))]
    counts += [np.bincount(each, minlength=64) for each in levels]
    tables = [FrequencyTable.from_counts(row.astype(np.int64), _COST_PRECISION) for row in counts]
    packed = pack_tables(np.stack([table.frequencies for table in tables]), _COST_PRECISION)
    return 8.0 * len(packed) + sum(table.cost_bits(row) for table, row in zip(tables, counts, strict=True))
