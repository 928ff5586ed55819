"""What `transform_prior` does for each coefficient of a step, as kernels: the same symbols and units.

The network that chooses their tables is in `prior_network_kernel`.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smalti.compiled import inlined_kernel, kernel
from smalti.decoders.transform.prior_network import FRACTIONS, MAGNITUDES, MEAN_UNITS, PriorNetwork
from smalti.decoders.transform.prior_network_kernel import fill_outputs, see
from smalti.decoders.transform.transform_prior import Step, Walk
from smalti.entropy.frequency import MAX_PRECISION, FrequencyTable
from smalti.entropy.priors import TablePrior
from smalti.entropy.stack_kernel import Coder, decoding, encoding, ended, lefts_of, stack, step
from smalti.errors import ModelError, UsageError

__all__ = ["KernelTables", "decode", "encode"]

Singles = NDArray[np.float32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Words = NDArray[np.unsignedinteger]

_PLACE = np.uint64((1 << MAX_PRECISION) - 1)
_ONE = np.uint64(1)
_HALF_UNITS = 1 << (MAX_PRECISION - 1)
_MOST_DIGITS = 16
_MAGNITUDES = MAGNITUDES.astype(np.float32)
_COLUMN_BITS = 12
_COLUMN_SHIFT, _COLUMN_MASK = np.uint64(_COLUMN_BITS), np.uint64((1 << _COLUMN_BITS) - 1)
_NO_PLACES: Ints = np.zeros(0, np.int64)


class KernelTables(NamedTuple):
    """Where the units of each code begin, int64 [tables, codes + 1]; the last scale; the same of far differences."""

    lefts: Ints
    most_scale: int
    coin: Ints
    lengths: Ints

    @staticmethod
    def of(tables: TablePrior, coin: FrequencyTable, lengths: FrequencyTable) -> "KernelTables":
        """The tables of a prior, and those of what far differences are coded with."""
        return KernelTables(
            lefts_of(tables.tables, tables.precision),
            tables.rows // FRACTIONS,
            lefts_of(coin.frequencies[None], coin.precision),
            lefts_of(lengths.frequencies[None], lengths.precision),
        )


def decode(network: PriorNetwork, tables: KernelTables, data: bytes, grids: Ints) -> NDArray[np.int32]:
    """The coefficients of pictures, int32 [cells, M]; DamagedArchiveError."""
    coder, walk = decoding(data), _KernelWalk(network, tables, grids)
    for part in walk.steps():
        walk.code(part, coder)
    ended(coder)
    return walk.coefficients


def encode(network: PriorNetwork, tables: KernelTables, coefficients: NDArray[np.int32], grids: Ints) -> bytes:
    """Code coefficients, int32 [cells, M]. ModelError if one that is not coded differs from its centre."""
    coder, walk = encoding(coefficients.size), _KernelWalk(network, tables, grids)
    walk.coefficients[:] = coefficients
    for part in walk.steps():
        coder = walk.code(part, coder)
    return stack(coder)


class _KernelWalk(Walk):
    """A walk whose coefficients are coded step by step, or are known from the start."""

    def __init__(self, network: PriorNetwork, tables: KernelTables, grids: Ints) -> None:
        super().__init__(network, tables.most_scale + 1, grids)
        self._tables = tables

    def code(self, part: Step, coder: Coder) -> Coder:
        """Decode the coefficients of a step, or list the units of known ones. Returns the coder, which may have grown.

        Raises ModelError if a known one that is not coded differs from its centre.
        """
        network, tables, size = self._network, self._tables, part.stop - part.start
        own = _Step.of(*self.scales_and_means(part), tables)
        coder = coder.with_room(len(part.cells) * size)
        far = _code(tables, own, part.cells, part.start, size, self.coefficients, coder)
        if far < 0:
            raise ModelError("a coefficient that is not coded differs from its centre")
        if far:
            coder = coder.with_room(far * (_MOST_DIGITS + 2))
            code_far = _list_far if coder.known else _take_far
            if code_far(tables, own, part.cells, part.start, size, self.coefficients, coder, far) > _MOST_DIGITS:
                raise UsageError(f"a difference has more than {_MOST_DIGITS} binary digits, and cannot be coded")
        _note(
            part.cells, part.start, part.stop, self.coefficients, self._weights.activity, network.limits,
            network.limit_shifts, self._sums, self._signed, self._features,
        )  # fmt: skip
        return coder

    def _other(self, step: Step) -> tuple[Singles, Singles]:
        network, weights = self._network, self._weights
        shifts = 2.0 ** -np.array(network.shifts, np.float32)
        see(self._sums, weights.activity_bias[step.group], shifts[0], self._features)
        part, own = slice(step.start, step.stop), slice(step.start, max(step.start, min(step.stop, network.signed)))
        scales = np.empty((len(step.cells), step.stop - step.start), np.float32)
        means, signed = np.zeros_like(scales), np.empty((len(step.cells), own.stop - own.start), np.float32)
        fill_outputs(
            self._features, self._signed, self._neighbours(step), weights.context[step.phase],
            weights.context_bias[step.phase, step.group], weights.places,
            _NO_PLACES if self._places is None else self._places[step.cells],
            weights.hidden, weights.hidden_bias,
            np.ascontiguousarray(weights.scale_weight[:, part]), weights.scale_bias[part],
            np.ascontiguousarray(weights.mean_weight[:, own]), weights.mean_bias[own],
            np.ascontiguousarray(weights.linear[step.phase][:, own]), shifts, scales, signed,
        )  # fmt: skip
        means[:, : signed.shape[1]] = signed
        return scales, means


class _Step(NamedTuple):
    """Coefficients of a step: row by row, those of a cell after each other.

    tables : -1 for those that are their centre    centres : twice the centre, and 1 more if the table counts downwards
    order : by tables, row << COLUMN_BITS | column    begins : where each table begins in the order, -1 first
    far : those that no table has
    """

    tables: NDArray[np.int16]
    centres: NDArray[np.int32]
    order: Words
    begins: Ints
    far: Bools

    @staticmethod
    def of(scales: Singles, means: Singles, tables: KernelTables) -> "_Step":
        size = scales.size
        made = _Step(
            np.empty(size, np.int16),
            np.empty(size, np.int32),
            np.empty(size, np.uint32 if len(scales) < 1 << (32 - _COLUMN_BITS) else np.uint64),
            np.zeros(len(tables.lefts) + 3, np.int64),
            np.zeros(size, np.bool_),
        )
        _choose(scales.ravel(), means.ravel(), tables.most_scale, made.tables, made.centres)
        _sort(made.tables, scales.shape[1], made.order, made.begins)
        return made


@kernel
def _choose(
    scales: Singles, means: Singles, most_scale: int, tables: NDArray[np.int16], centres: NDArray[np.int32]
) -> None:
    """The table of each coefficient and its centre (`Walk.coding`)."""
    for at in range(len(scales)):
        scale = min(max(np.int64(scales[at]), 0), most_scale)
        quarters = (np.int64(means[at]) + MEAN_UNITS // 8) >> 2
        centre = (quarters + 2) >> 2
        fraction = quarters - 4 * centre
        centres[at] = 2 * centre + (fraction < 0)
        tables[at] = (scale - 1) * FRACTIONS + abs(fraction) if scale else -1


@kernel
def _sort(tables: NDArray[np.int16], size: int, order: Words, begins: Ints) -> None:
    """The coefficients by ascending tables, in their own order within each. size : of a row"""
    for table in tables:
        begins[table + 3] += 1
    for table in range(len(begins) - 1):
        begins[table + 1] += begins[table]
    for row in range(len(tables) // size):
        for column in range(size):
            table = tables[row * size + column]
            order[begins[table + 2]] = (row << _COLUMN_BITS) | column
            begins[table + 2] += 1


@kernel
def _code(
    tables: KernelTables,
    own: _Step,
    cells: Ints,
    start: int,
    size: int,
    coefficients: NDArray[np.int32],
    coder: Coder,
) -> int:
    """Code what tables have. Returns how many differences are far, or -1 if a known coefficient cannot be coded."""
    centres, order, begins, lefts = own.centres, own.order, own.begins, tables.lefts
    words, state, listed_lefts, listed_units, known = coder
    escape, far = lefts.shape[1] - 2, 0
    radius = escape // 2
    for number in range(begins[1]):
        row, column = np.int64(order[number] >> _COLUMN_SHIFT), np.int64(order[number] & _COLUMN_MASK)
        centre = centres[row * size + column] >> 1
        if known and coefficients[cells[row], start + column] != centre:
            return -1
        coefficients[cells[row], start + column] = centre
    for table in range(len(lefts)):
        bounds = lefts[table]
        for number in range(begins[table + 1], begins[table + 2]):
            row, column = np.int64(order[number] >> _COLUMN_SHIFT), np.int64(order[number] & _COLUMN_MASK)
            centre = centres[row * size + column]
            sign = 1 - 2 * (centre & 1)
            if known:
                symbol = (coefficients[cells[row], start + column] - (centre >> 1)) * sign + radius
                if symbol < 0 or symbol >= escape or bounds[symbol] == bounds[symbol + 1]:
                    symbol = escape
                _list(listed_lefts, listed_units, state, bounds[symbol], bounds[symbol + 1])
            else:
                symbol = _take(words, state, bounds, radius)
                coefficients[cells[row], start + column] = (centre >> 1) + (symbol - radius) * sign
            if symbol == escape:
                own.far[row * size + column] = True
                far += 1
    return far


@inlined_kernel
def _take(words: Any, state: Any, bounds: Any, likely: int) -> Any:
    """Decode a code: near the likely one first."""
    place = np.int64(state[0] & _PLACE)
    low, high, leap = likely, likely + 1, 1
    while bounds[low] > place:
        low, high, leap = max(low - leap, 0), low, 2 * leap
    while bounds[high] <= place:
        low, high, leap = high, min(high + leap, len(bounds) - 1), 2 * leap
    while high - low > 1:
        middle = (low + high) >> 1
        if bounds[middle] <= place:
            low = middle
        else:
            high = middle
    left = bounds[low]
    step(words, state, left, bounds[low + 1] - left)
    return low


@kernel
def _list(lefts: NDArray[np.uint32], units: NDArray[np.uint32], state: NDArray[np.uint64], left: int, end: int) -> None:
    lefts[state[0]], units[state[0]] = left, end - left
    state[0] += _ONE


@kernel
def _list_far(
    tables: KernelTables,
    own: _Step,
    cells: Ints,
    start: int,
    size: int,
    coefficients: NDArray[np.int32],
    coder: Coder,
    far: int,
) -> int:
    """List the known differences that no table has: signs, numbers of digits, then digits plane by plane.

    Returns the digits of the largest one. If there are too many, nothing that was listed may be used.
    """
    state, lefts, units, lengths = coder.state, coder.lefts, coder.units, tables.lengths
    magnitudes, digits = np.empty(far, np.int64), np.empty(far, np.int64)
    longest = 0
    for number, at in enumerate(np.flatnonzero(own.far)):
        centre = np.int64(own.centres[at])
        difference = np.int64(coefficients[cells[at // size], start + at % size]) - (centre >> 1)
        negative = np.int64((difference < 0) != (centre & 1 == 1))
        _list(lefts, units, state, negative * _HALF_UNITS, (negative + 1) * _HALF_UNITS)
        magnitudes[number], digits[number] = abs(difference), 0
        while magnitudes[number] >> (digits[number] + 1):
            digits[number] += 1
        longest = max(longest, digits[number])
    if longest >= _MOST_DIGITS:
        return longest + 1
    for number in range(far):
        _list(lefts, units, state, lengths[0, digits[number]], lengths[0, digits[number] + 1])
    for plane in range(longest):
        for number in range(far):
            if digits[number] > plane:
                bit = magnitudes[number] >> plane & 1
                _list(lefts, units, state, bit * _HALF_UNITS, (bit + 1) * _HALF_UNITS)
    return longest + 1


@kernel
def _take_far(
    tables: KernelTables,
    own: _Step,
    cells: Ints,
    start: int,
    size: int,
    coefficients: NDArray[np.int32],
    coder: Coder,
    far: int,
) -> int:
    """Decode the differences that no table has. Returns the digits of the largest one."""
    words, state, coin, lengths = coder.words, coder.state, tables.coin[0], tables.lengths[0]
    negative, digits = np.empty(far, np.int64), np.empty(far, np.int64)
    for number in range(far):
        negative[number] = _take(words, state, coin, 0)
    for number in range(far):
        digits[number] = _take(words, state, lengths, 0)
    magnitudes = np.int64(1) << digits
    for plane in range(digits.max()):
        for number in range(far):
            if digits[number] > plane:
                magnitudes[number] |= _take(words, state, coin, 0) << plane
    for number, at in enumerate(np.flatnonzero(own.far)):
        centre = np.int64(own.centres[at])
        flipped = (negative[number] == 1) != (centre & 1 == 1)
        difference = -magnitudes[number] if flipped else magnitudes[number]
        coefficients[cells[at // size], start + at % size] = (centre >> 1) + difference
    return digits.max() + 1


@kernel
def _note(
    cells: Ints,
    start: int,
    stop: int,
    coefficients: NDArray[np.int32],
    activity: Singles,
    limits: Ints,
    limit_shifts: Ints,
    sums: Singles,
    signed: Singles,
    features: Singles,
) -> None:
    """Note what later steps see of the coefficients of a step (`Walk.set`)."""
    activities = sums.shape[1]
    for cell in cells:
        for component in range(start, stop):
            value = np.int64(coefficients[cell, component])
            if value:
                magnitude = _MAGNITUDES[min(abs(value), len(_MAGNITUDES) - 1)]
                for unit in range(np.uint64(activities)):
                    sums[cell, unit] += magnitude * activity[component, unit]
                if component < len(limits):
                    seen = min(max(value, -limits[component]), limits[component])
                    signed[cell, component] = seen
                    features[cell, activities + component] = seen >> limit_shifts[component]
