"""Codes the coefficients of cells, group of components after group, many cells at a time (docs/format.md).

The first component comes first, for all cells: on a coarse lattice, which then becomes finer, so that each cell sees
cells on all its sides. Then comes group after group, each for the black and then the white cells of a checkerboard. A
step codes all its coefficients of all pictures at once. A small network sees what is known of the 3 x 3 cells around,
and gives each coefficient the number of a stored table; all coefficients of one table are coded in one call.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smalti.compiled import kernels_pay
from smalti.decoders.transform.cells import REACHES, CellLists
from smalti.decoders.transform.prior_network import FRACTIONS, MAGNITUDES, MEAN_UNITS, PriorNetwork, pack_prior
from smalti.decoders.transform.tokens import signed, unsigned
from smalti.entropy.coder import SymbolDecoder, SymbolEncoder
from smalti.entropy.frequency import FrequencyTable
from smalti.entropy.priors import TablePrior
from smalti.errors import DamagedArchiveError, ModelError
from smalti.lazy import cached_property

if TYPE_CHECKING:
    from smalti.decoders.transform.prior_kernel import KernelTables

__all__ = ["Coding", "Step", "TransformPrior", "Walk", "far_bits", "signed", "unsigned"]

COIN = FrequencyTable(np.ones(2, np.uint32), 1)
LENGTHS = FrequencyTable(np.ones(16, np.uint32), 4)
_PIECE_CELLS = 2048
"""Cells whose contexts are computed at once, so that they stay in the caches."""


Singles = NDArray[np.float32]


@dataclass(frozen=True)
class Step:
    """Coefficients that are coded at once: the components start to stop - 1 of some cells, in one of their phases."""

    group: int
    start: int
    stop: int
    phase: int
    cells: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Coding:
    """How the coefficients of a step are coded, all [cells, components].

    centres : int32, the whole numbers nearest to their means
    flips : bool, whether the table counts downwards
    tables : int32, the number of the table; -1 for a coefficient that is its centre and is not coded
    """

    centres: NDArray[np.int32]
    flips: NDArray[np.bool_]
    tables: NDArray[np.int32]


class Walk:
    """Goes through the steps of some pictures. `coding` gives the distributions of a step, then `set` its coefficients.

    coefficients : int32 [cells, M]; those of the steps so far, others are 0
    """

    def __init__(self, network: PriorNetwork, scales: int, grids: NDArray[np.int64]) -> None:
        self._network, self._scales = network, scales
        self._cells = CellLists(grids)
        count = self._cells.cells
        self.coefficients = np.zeros((count, network.components), np.int32)
        self._sums = np.zeros((count, network.activities), np.float32)
        self._features = np.zeros((count + 1, network.activities + network.signed), np.float32)
        self._signed = np.zeros((count + 1, network.signed), np.float32)
        self._places = self._cells.places(network.grid) if network.grid != (0, 0) else None
        self._weights = _Weights.of(network)
        self._around: dict[int, NDArray[np.int64]] = {}  # by phase, of the components after the first

    def steps(self) -> Iterator[Step]:
        """The steps in coding order."""
        for phase, cells in enumerate(self._cells.first_phase()):
            if len(cells):
                yield Step(0, 0, 1, phase, cells)
        start = 1
        phases = self._cells.phase()
        for group, size in enumerate(self._network.groups[1:], 1):
            for phase, cells in enumerate(phases):
                if len(cells):
                    yield Step(group, start, start + size, phase, cells)
            start += size

    def coding(self, step: Step) -> Coding:
        """How the coefficients of a step are coded, from those of the steps before."""
        scales, means = self.scales_and_means(step)
        tables = np.clip(scales, 0, self._scales - 1).astype(np.int32)
        quarters = (means.astype(np.int32) + MEAN_UNITS // 8) >> 2
        centres = (quarters + 2) >> 2
        fractions = quarters - 4 * centres
        return Coding(centres, fractions < 0, np.where(tables > 0, (tables - 1) * FRACTIONS + np.abs(fractions), -1))

    def set(self, step: Step, values: NDArray[np.integer]) -> None:
        """Tell the coefficients of a step, [cells, components]."""
        network, cells = self._network, step.cells
        self.coefficients[cells, step.start : step.stop] = values
        magnitudes = MAGNITUDES[np.minimum(np.abs(values), len(MAGNITUDES) - 1)].astype(np.float32)
        self._sums[cells] += magnitudes @ self._weights.activity[step.start : step.stop]
        if step.start < network.signed:
            stop = min(step.stop, network.signed)
            limits = network.limits[step.start : stop]
            seen = np.clip(values[:, : stop - step.start], -limits, limits)
            self._signed[cells, step.start : stop] = seen
            shifted = seen >> network.limit_shifts[step.start : stop]
            self._features[cells, network.activities + step.start : network.activities + stop] = shifted

    def scales_and_means(self, step: Step) -> tuple[Singles, Singles]:
        """What the network gives the coefficients of a step, float32 [cells, components], whole numbers."""
        return self._first(step) if step.group == 0 else self._other(step)

    def _first(self, step: Step) -> tuple[Singles, Singles]:
        """Scales and means of the first component."""
        first, phase, shifts = self._weights.first, step.phase, self._network.shifts[6:]
        if not REACHES[phase]:
            hidden = np.zeros((len(step.cells), len(first.bias[phase])), np.float32)
            hidden += first.bias[phase]
            linear = np.zeros((len(step.cells), 1), np.float32)
        else:
            around = self._cells.neighbours(REACHES[phase], step.cells)
            hidden = self._features[around, self._network.activities] @ first.weight[phase] + first.bias[phase]
            linear = _floored(self._signed[around, 0] @ first.linear[phase][:, None], shifts[3])
        hidden = np.clip(_floored(hidden, shifts[0]), 0, 255)
        scales = _floored(hidden @ first.scale_weight[phase][:, None] + first.scale_bias[phase], shifts[1])
        means = _floored(hidden @ first.mean_weight[phase][:, None] + first.mean_bias[phase], shifts[2])
        return scales, means + linear

    def _other(self, step: Step) -> tuple[Singles, Singles]:
        """Scales and means of the components of a group."""
        network, weights = self._network, self._weights
        activities = self._sums + weights.activity_bias[step.group]
        self._features[:-1, : network.activities] = np.clip(_floored(activities, network.shifts[0]), 0, 255)
        neighbours = self._neighbours(step)
        shape = (len(step.cells), step.stop - step.start)
        scales, means = np.empty(shape, np.float32), np.zeros(shape, np.float32)
        for start in range(0, len(step.cells), _PIECE_CELLS):
            piece = slice(start, start + _PIECE_CELLS)
            scales[piece] = self._piece(step, step.cells[piece], neighbours[piece], means[piece])
        return scales, means

    def _neighbours(self, step: Step) -> NDArray[np.int64]:
        """The 3 x 3 cells around each cell of a step that is not of the first component."""
        if step.phase not in self._around:
            self._around[step.phase] = self._cells.neighbours(1, step.cells)
        return self._around[step.phase]

    def _piece(
        self, step: Step, cells: NDArray[np.int64], around: NDArray[np.int64], means: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Scales of some cells of a step. `means` is filled."""
        network, weights, shifts = self._network, self._weights, self._network.shifts
        hidden = self._features[around].reshape(len(cells), -1) @ weights.context[step.phase]
        hidden += weights.context_bias[step.phase, step.group]
        if self._places is not None:
            hidden += weights.places[self._places[cells]]
        hidden = np.clip(_floored(hidden, shifts[1]), 0, 255)
        hidden = np.clip(_floored(hidden @ weights.hidden + weights.hidden_bias, shifts[2]), 0, 255)
        part = slice(step.start, step.stop)
        if step.start < network.signed:
            stop = min(step.stop, network.signed)
            own = slice(step.start, stop)
            moved = _floored(hidden @ weights.mean_weight[:, own] + weights.mean_bias[own], shifts[4])
            linear = self._signed[around].reshape(len(cells), -1) @ weights.linear[step.phase][:, own]
            means[:, : stop - step.start] = moved + _floored(linear, shifts[5])
        return _floored(hidden @ weights.scale_weight[:, part] + weights.scale_bias[part], shifts[3])


@dataclass(frozen=True, eq=False)
class _FirstWeights:
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    scale_weight: NDArray[np.float32]
    scale_bias: NDArray[np.float32]
    mean_weight: NDArray[np.float32]
    mean_bias: NDArray[np.float32]
    linear: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class _Weights:
    """The matrices of a network as float32."""

    activity: NDArray[np.float32]
    activity_bias: NDArray[np.float32]
    context: NDArray[np.float32]
    context_bias: NDArray[np.float32]
    places: NDArray[np.float32]
    hidden: NDArray[np.float32]
    hidden_bias: NDArray[np.float32]
    scale_weight: NDArray[np.float32]
    scale_bias: NDArray[np.float32]
    mean_weight: NDArray[np.float32]
    mean_bias: NDArray[np.float32]
    linear: NDArray[np.float32]
    first: _FirstWeights

    @staticmethod
    def of(network: PriorNetwork) -> "_Weights":
        first = network.first
        names = [name for name in _Weights.__dataclass_fields__ if name != "first"]
        singles = {name: getattr(network, name).astype(np.float32) for name in names}
        firsts = {name: getattr(first, name).astype(np.float32) for name in _FirstWeights.__dataclass_fields__}
        singles["places"] = np.pad(singles["places"], ((0, 1), (0, 0)))  # nothing for pictures of other grids
        return _Weights(**singles, first=_FirstWeights(**firsts))


def _floored(sums: NDArray[np.float32], shift: int) -> NDArray[np.float32]:
    """floor(sums / 2**shift), exactly."""
    floored: NDArray[np.float32] = np.floor(sums * np.float32(2.0**-shift))
    return floored


class TransformPrior:
    """A CellPrior: codes coefficients with the tables that a network chooses.

    tables : FRACTIONS rows for every scale but the first, which is certain; the codes are the differences to the centre
        from -radius to radius, and one for all differences that are larger or have no units in the table
    """

    def __init__(self, network: PriorNetwork, tables: TablePrior) -> None:
        if tables.rows % FRACTIONS or tables.codes % 2 or tables.codes < 4:
            raise ModelError(f"{tables.rows} tables of {tables.codes} codes are no tables of a transform prior")
        if not tables.tables[:, [tables.codes // 2 - 1, -1]].all():
            raise ModelError("a table of a transform prior cannot code its centre, or far differences")
        self.network, self.tables = network, tables
        self.scales, self.radius = tables.rows // FRACTIONS + 1, tables.codes // 2 - 1

    @property
    def operations(self) -> int:
        """Products and sums that it takes for one cell."""
        return self.network.operations

    @property
    def cell_bytes(self) -> int:
        """Bytes of memory that it takes for one cell."""
        return self.network.cell_bytes

    def walk(self, grids: NDArray[np.int64]) -> Walk:
        """Begin with the first step of pictures."""
        return Walk(self.network, self.scales, grids)

    def encode(self, tokens: NDArray[np.uint16], grids: NDArray[np.int64]) -> bytes:
        """Code tokens, uint16 [cells, M]. UsageError if a token that is not coded differs from its centre."""
        coefficients = signed(tokens)
        if kernels_pay(self.operations * len(tokens)):
            from smalti.decoders.transform import prior_kernel  # noqa: PLC0415

            return prior_kernel.encode(self.network, self._kernel_tables, coefficients, grids)
        encoder = SymbolEncoder()
        walk = self.walk(grids)
        for step in walk.steps():
            values = coefficients[step.cells, step.start : step.stop]
            self._add(encoder, values, walk.coding(step))
            walk.set(step, values)
        return encoder.finish()

    def decode(self, data: bytes, grids: NDArray[np.int64]) -> NDArray[np.uint16]:
        """Read the tokens of pictures: uint16 [cells, M]; DamagedArchiveError."""
        coefficients = self._coefficients(data, grids)
        if coefficients.size and not -(1 << 15) <= coefficients.min() <= coefficients.max() < 1 << 15:
            raise DamagedArchiveError("a coefficient is outside int16")
        return unsigned(coefficients)

    def _coefficients(self, data: bytes, grids: NDArray[np.int64]) -> NDArray[np.int32]:
        if kernels_pay(self.operations * int(grids.prod(axis=1).sum())):
            from smalti.decoders.transform import prior_kernel  # noqa: PLC0415

            return prior_kernel.decode(self.network, self._kernel_tables, data, grids)
        decoder = SymbolDecoder(data)
        walk = self.walk(grids)
        for step in walk.steps():
            walk.set(step, self._take(decoder, walk.coding(step)))
        decoder.finish()
        return walk.coefficients

    @cached_property
    def _kernel_tables(self) -> "KernelTables":
        from smalti.decoders.transform.prior_kernel import KernelTables  # noqa: PLC0415

        return KernelTables.of(self.tables, COIN, LENGTHS)

    def to_bytes(self) -> bytes:
        """The payload of the prior section."""
        return pack_prior(self.network, self.tables)

    @cached_property
    def cost_bits(self) -> NDArray[np.float32]:
        """Bits of each code of each table, float32 [tables, codes]: what a choice of tokens goes by."""
        with np.errstate(divide="ignore"):
            bits = self.tables.precision - np.log2(self.tables.tables.astype(np.float32))
        finite: NDArray[np.float32] = np.minimum(bits, 1e6).astype(np.float32)
        return finite

    def codes(self, tables: NDArray[np.int32], differences: NDArray[np.int32]) -> NDArray[np.int32]:
        """The codes of differences to centres, of the same shape; the last code where a table has no other for one."""
        last = 2 * self.radius + 1
        codes = np.where(np.abs(differences) > self.radius, last, differences + self.radius)
        found: NDArray[np.int32] = np.where(self._codable[tables, codes], codes, last).astype(np.int32)
        return found

    @cached_property
    def _codable(self) -> NDArray[np.bool_]:
        return self.tables.tables > 0

    def _add(self, encoder: SymbolEncoder, values: NDArray[np.int32], coding: Coding) -> None:
        differences = values - coding.centres
        differences = np.where(coding.flips, -differences, differences).ravel()
        tables = coding.tables.ravel()
        if differences[tables < 0].any():
            raise ModelError("a coefficient that is not coded differs from its centre")
        codes = self.codes(tables, differences)
        for table, members in _by_table(tables):
            encoder.add(codes[members], self.tables.frequency_tables[table])
        far = (codes == 2 * self.radius + 1) & (tables >= 0)
        if far.any():
            _add_far(encoder, differences[far])

    def _take(self, decoder: SymbolDecoder, coding: Coding) -> NDArray[np.int32]:
        tables = coding.tables.ravel()
        codes = np.full(len(tables), self.radius, np.int32)
        for table, members in _by_table(tables):
            codes[members] = decoder.take(len(members), self.tables.frequency_tables[table])
        differences = codes - self.radius
        outside = codes == 2 * self.radius + 1
        if outside.any():
            differences[outside] = _take_far(decoder, int(outside.sum()))
        shaped = differences.reshape(coding.tables.shape)
        values: NDArray[np.int32] = coding.centres + np.where(coding.flips, -shaped, shaped)
        return values


def _by_table(tables: NDArray[np.int32]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Each table that occurs, ascending, and the positions of its coefficients, ascending; -1 is left out."""
    order = np.argsort(tables.astype(np.int16), kind="stable")
    counts = np.bincount(tables + 1)
    start = int(counts[0])
    for table in np.flatnonzero(counts[1:]).tolist():
        stop = start + int(counts[table + 1])
        yield table, order[start:stop]
        start = stop


def _add_far(encoder: SymbolEncoder, differences: NDArray[np.int32]) -> None:
    """Code differences that are not 0: signs, numbers of binary digits, the digits below the first plane by plane."""
    magnitudes = np.abs(differences)
    digits = np.frexp(magnitudes.astype(np.float64))[1].astype(np.int32)
    encoder.add((differences < 0).astype(np.int32), COIN)
    encoder.add(digits - 1, LENGTHS)
    for plane in range(int(digits.max()) - 1):
        encoder.add(magnitudes[digits > plane + 1] >> plane & 1, COIN)


def _take_far(decoder: SymbolDecoder, count: int) -> NDArray[np.int32]:
    negative = decoder.take(count, COIN)
    digits = decoder.take(count, LENGTHS) + 1
    magnitudes = np.left_shift(1, digits - 1).astype(np.int32)
    for plane in range(int(digits.max()) - 1):
        owners = digits > plane + 1
        magnitudes[owners] |= decoder.take(int(owners.sum()), COIN) << plane
    found: NDArray[np.int32] = np.where(negative == 1, -magnitudes, magnitudes)
    return found


def far_bits(differences: NDArray[np.int32]) -> NDArray[np.float32]:
    """The bits that a difference takes besides the code that announces it."""
    magnitudes = np.maximum(np.abs(differences), 1).astype(np.float32)
    bits: NDArray[np.float32] = 5 + np.floor(np.log2(magnitudes))
    return bits
