"""The prior of hierarchical tokens: how a block's tokens are grouped for coding, in which order, and the prior's bytes.

    the depths of all images                                            one group, one table
    for each level, for each position of its grid, row after row:       a group of the images that have the level
        their tokens, each with the probabilities of the level's prior

Decoding adds codes to the latents step by step. Encoding goes backwards and removes codes from the complete latents,
because a stack coder takes the last group first. So only the latents are in memory, for any number of codes.

A packed prior is fields and then its frequencies, weights and biases, entropy-coded like the numbers of networks; every
field is checked (docs/format.md, "Prior of a pyramid").
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smalti.compiled import kernels_pay
from smalti.decoders.layers.integer_network import MAX_SHIFT
from smalti.decoders.layers.network_packing import PRECISIONS, Levels, choose_levels, read_weights, write_weights
from smalti.decoders.pyramid.context import Latents, LevelLatents, feature_count, feature_magnitudes
from smalti.decoders.pyramid.pyramid_network import ABSENT, PyramidNetwork, TokenLayout
from smalti.decoders.pyramid.pyramid_packing import Coding, Fields, open_reader
from smalti.entropy.coder import StackEncoder, SymbolDecoder
from smalti.entropy.frequency import MAX_PRECISION, FrequencyTable
from smalti.entropy.integers import IntegerReader, IntegerWriter
from smalti.entropy.priors import MAX_POSITION_CELLS, NetworkPrior, PositionPrior, TablePrior
from smalti.errors import DamagedArchiveError, ModelError, UnsupportedArchiveError, UsageError
from smalti.lazy import cached_property

if TYPE_CHECKING:
    from smalti.decoders.pyramid.pyramid_kernel import KernelPyramid

__all__ = ["KIND", "PyramidPrior", "pack_prior", "unpack_prior"]


KIND = 3
MAX_NUMBERS = 1 << 24  # of all levels together
_TABLES, _NETWORK = 1, 2

Stored = tuple[FrequencyTable, tuple[TablePrior | NetworkPrior, ...]]
"""The distribution of depths, and the priors of the levels."""


def pack_prior(depths: FrequencyTable, levels: tuple[TablePrior | NetworkPrior, ...]) -> bytes:
    """Serialise; `unpack_prior` is the inverse. The same prior gives the same bytes."""
    networks = [level for level in levels if isinstance(level, NetworkPrior)]
    chosen = [choose_levels(weight) for level in networks for weight in (level.weight1, level.weight2)]
    return min((_pack(depths, levels, iter(chosen), precision) for precision in PRECISIONS), key=len)


def unpack_prior(data: bytes, network: PyramidNetwork, layout: TokenLayout) -> Stored:
    """Read the output of `pack_prior` for these levels.

    Raises DamagedArchiveError if the bytes are not such a prior, UnsupportedArchiveError for an unknown kind.
    """
    fields = Fields(data, "prior")
    (kind,) = fields.take("B")
    if kind != KIND:
        raise UnsupportedArchiveError(f"prior: kind {kind} of a pyramid is not known to this release")
    precision, count = fields.take("BH")
    fields.demand(precision <= MAX_PRECISION, "the precision of the depths")
    fields.demand(count == layout.levels, "the number of levels")
    coding = Coding.read(fields)
    coding.check(fields, 2 * count + 1)
    described = [_LevelFields(fields, network, layout, level) for level in range(count)]
    fields.demand(sum(each.numbers for each in described) <= MAX_NUMBERS, "the number of all numbers")
    reader = open_reader(fields, coding)
    try:
        depths = FrequencyTable(reader.take(count + 1).astype(np.uint32), precision)
        levels = tuple(each.read(reader) for each in described)
    except (ModelError, UsageError) as error:
        raise DamagedArchiveError(f"prior: {error}") from error
    reader.finish()
    return depths, levels


def _pack(
    depths: FrequencyTable, levels: tuple[TablePrior | NetworkPrior, ...], chosen: Iterator[Levels], precision: int
) -> bytes:
    writer, described = IntegerWriter(precision), []
    writer.add(depths.frequencies)
    for level in levels:
        own = int(level.rows > 1)
        if isinstance(level, TablePrior):
            described.append(struct.pack("<BBBBH", _TABLES, own, level.precision, 0, 0))
            writer.add(level.tables.ravel())
            continue
        described.append(struct.pack("<BBBBH", _NETWORK, own, level.shift1, level.shift2, level.hidden))
        write_weights(writer, level.weight1, next(chosen))
        writer.add(level.bias1.ravel(), signed=True)
        write_weights(writer, level.weight2, next(chosen))
        writer.add(level.bias2, signed=True)
    packed, coded = writer.finish()
    head = struct.pack("<BBH", KIND, depths.precision, len(levels))
    coding = Coding(writer.tables, writer.symbols, precision, len(packed))
    return b"".join([head, coding.to_bytes(), *described, packed, coded])


class _LevelFields:
    """The fields of a level's prior, checked. `read` reads the prior's numbers. numbers : how many there are"""

    def __init__(self, fields: Fields, network: PyramidNetwork, layout: TokenLayout, level: int) -> None:
        self._kind, own, self._first, self._second, self._hidden = fields.take("BBBBH")
        if self._kind not in (_TABLES, _NETWORK):
            raise UnsupportedArchiveError(f"prior: a level of kind {self._kind} is not known; use a newer smalti")
        fields.demand(own <= 1, "whether positions have numbers of their own")
        self._rows = prod(layout.grids[level]) if own else 1
        self._codes, self._features = network.levels[level].size, feature_count(network, layout, level)
        sizes = [self._rows * self._codes]
        if self._kind == _TABLES:
            fields.demand(self._first <= MAX_PRECISION and not self._second and not self._hidden, "a table")
        else:
            fields.demand(max(self._first, self._second) <= MAX_SHIFT and self._hidden >= 1, "a network")
            sizes = [self._features * self._hidden, self._rows * self._hidden, self._hidden * self._codes, self._codes]
        fields.demand(max(sizes) <= MAX_POSITION_CELLS, "the size of a level")
        self.numbers = sum(sizes)

    def read(self, reader: IntegerReader) -> TablePrior | NetworkPrior:
        """Read the numbers of the prior; ModelError if they do not fit each other."""
        rows, codes, hidden = self._rows, self._codes, self._hidden
        if self._kind == _TABLES:
            return TablePrior(reader.take(rows * codes).astype(np.uint32).reshape(rows, codes), self._first)
        weight1 = read_weights(reader, (self._features, hidden), -128, 127)
        bias1 = reader.take(rows * hidden, signed=True).astype(np.int32).reshape(rows, hidden)
        weight2 = read_weights(reader, (hidden, codes), -128, 127)
        bias2 = reader.take(codes, signed=True).astype(np.int32)
        return NetworkPrior(weight1, bias1, self._first, weight2, bias2, self._second)


_COSTED_IMAGES = 4096  # at a time, which bounds the memory of latents


@dataclass(frozen=True, eq=False)
class PyramidPrior:
    """Distributions of the tokens of an image, for the levels and codes of `network` on a canvas `grid` (h, w).

    depths : frequencies of the depths 0 to L
    levels : a TablePrior or NetworkPrior for each level

    >>> prior.decode(prior.encode(tokens), len(tokens))   # equals tokens, uint16 [n, T]

    Raises ModelError if they do not fit each other, or if a sum could leave the range in which it is exact.
    """

    network: PyramidNetwork
    grid: tuple[int, int]
    depths: FrequencyTable
    levels: tuple[TablePrior | NetworkPrior, ...]

    def __post_init__(self) -> None:
        count = len(self.network.levels)
        if len(self.levels) != count or len(self.depths.frequencies) != count + 1:
            raise ModelError(
                f"priors of {len(self.levels)} levels and {len(self.depths.frequencies)} depths for {count} levels"
            )
        for number, (level, prior) in enumerate(zip(self.network.levels, self.levels, strict=True)):
            rows, columns = self.layout.grids[number]
            if prior.codes != level.size or prior.rows not in (1, rows * columns):
                raise ModelError(f"the prior of level {number} is of {prior.rows} positions and {prior.codes} codes")
            if isinstance(prior, NetworkPrior):
                prior.check(feature_magnitudes(self.network, self.layout, number))

    @cached_property
    def layout(self) -> TokenLayout:
        """The layout of the tokens."""
        return TokenLayout(self.network, self.grid)

    def encode(self, tokens: NDArray[np.integer]) -> bytes:
        """Code tokens (integers [n, T], numbers of codes of all levels or ABSENT), else raise UsageError."""
        depths, encoder = self.layout.check(tokens), StackEncoder()
        if kernels_pay(self.operations * len(tokens)):
            from smalti.decoders.pyramid import pyramid_kernel  # noqa: PLC0415

            return pyramid_kernel.encode(self._kernel, tokens, depths)
        latents = self._latents(len(tokens))
        latents.add_all(tokens)
        for prior, group in self._groups(latents, depths, backwards=True):
            symbols = group.symbols(tokens)
            group.latents.remove(group.position, symbols)
            prior.push(encoder, group.position, symbols, group.features)
        encoder.push(depths, self.depths)
        return encoder.finish()

    def decode(self, data: bytes, images: int) -> NDArray[np.uint16]:
        """Read back the tokens of `images` images: uint16 [images, T]; DamagedArchiveError if `data` do not fit."""
        if kernels_pay(self.operations * images):
            from smalti.decoders.pyramid import pyramid_kernel  # noqa: PLC0415

            return pyramid_kernel.decode(self._kernel, data, images)
        decoder = SymbolDecoder(data)
        tokens = np.full((images, self.layout.tokens), ABSENT, np.uint16)
        depths = decoder.take(images, self.depths).astype(np.intp)
        for prior, group in self._groups(self._latents(images), depths):
            symbols = prior.take(decoder, group.position, len(group.members), group.features)
            tokens[group.members, group.column] = symbols + group.first
            group.latents.add(group.position, symbols)
        decoder.finish()
        return tokens

    def cost_bits(self, tokens: NDArray[np.integer]) -> NDArray[np.float64]:
        """The bits of each image's tokens [n, T] and depth: float64 [n]; infinite if they cannot be coded."""
        depths = self.layout.check(tokens)
        with np.errstate(divide="ignore"):
            of_depth = self.depths.precision - np.log2(self.depths.frequencies.astype(np.float64))
        bits: NDArray[np.float64] = of_depth[depths]
        for start in range(0, len(tokens), _COSTED_IMAGES):
            images = slice(start, start + _COSTED_IMAGES)
            part, part_bits = tokens[images], bits[images]
            for prior, group in self._groups(self._latents(len(part)), depths[images]):
                symbols = group.symbols(part)
                part_bits[group.members] += prior.cost_bits(group.position, symbols, group.features)
                group.latents.add(group.position, symbols)
        return bits

    def to_bytes(self) -> bytes:
        """Serialise; `from_bytes` is the inverse. The same prior gives the same bytes."""
        return pack_prior(self.depths, self.levels)

    @classmethod
    def from_bytes(cls, data: bytes, network: PyramidNetwork, grid: tuple[int, int]) -> "PyramidPrior":
        """Read a prior for a network and its canvas; the file states both elsewhere.

        Raises DamagedArchiveError if the bytes are not such a prior, UnsupportedArchiveError for an unknown kind.
        """
        depths, levels = unpack_prior(data, network, TokenLayout(network, grid))
        try:
            return cls(network, grid, depths, levels)
        except ModelError as error:
            raise DamagedArchiveError(f"prior: {error}") from error

    @property
    def operations(self) -> int:
        """Products and sums to code one image."""
        return sum(
            prod(grid) * (level.hidden * (level.features + level.codes) if isinstance(level, NetworkPrior) else 1)
            for grid, level in zip(self.layout.grids, self.levels, strict=True)
        )

    @cached_property
    def _kernel(self) -> "KernelPyramid":
        from smalti.decoders.pyramid.pyramid_kernel import KernelPyramid  # noqa: PLC0415

        return KernelPyramid.of(self.network, self.layout, self.depths, self.levels)

    def _latents(self, images: int) -> Latents:
        return Latents(self.network, self.layout, images)

    def _groups(
        self, latents: Latents, depths: NDArray[np.intp], backwards: bool = False
    ) -> Iterator[tuple[PositionPrior, "_SymbolGroup"]]:
        """Yield all groups in the order of coding, or backwards; levels that no image has have none."""
        for level in _order(range(self.layout.levels), backwards):
            members = np.flatnonzero(depths > level)
            if not len(members):
                continue
            part = LevelLatents(latents, level, members)
            start, stop = self.layout.part(level).start, self.layout.part(level).stop
            for column in _order(range(start, stop), backwards):
                group = _SymbolGroup(members, part, column, column - start, self.layout.numbers[level])
                yield self.levels[level], group
            part.close()


@dataclass(frozen=True, eq=False)
class _SymbolGroup:
    """The tokens of one position. members : indices of images    first : the number of the level's first code"""

    members: NDArray[np.intp]
    latents: LevelLatents
    column: int
    position: int
    first: int

    def symbols(self, tokens: NDArray[np.integer]) -> NDArray[np.intp]:
        """The tokens as indices into the level's codes, intp [members]."""
        symbols: NDArray[np.intp] = tokens[self.members, self.column].astype(np.intp) - self.first
        return symbols

    def features(self, part: slice) -> NDArray[np.float32]:
        """Features of a part of the members."""
        return self.latents.features(self.position, part)


def _order(numbers: range, backwards: bool) -> range:
    return numbers[::-1] if backwards else numbers
