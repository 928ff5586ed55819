"""A pyramid's prior as few bytes, and back with every check (docs/format.md, "Prior of a pyramid").

Frequencies, weights and biases are entropy-coded as the numbers of networks are; what is here says how many there are.
"""

import struct
from collections.abc import Iterator
from math import prod

import numpy as np

from smalti.decoders.layers.integer_network import MAX_SHIFT
from smalti.decoders.layers.network_packing import PRECISIONS
from smalti.decoders.layers.weights import Levels, choose_levels, read_weights, write_weights
from smalti.decoders.pyramid.context import feature_count
from smalti.decoders.pyramid.description import Coding, Fields
from smalti.decoders.pyramid.pyramid_network import PyramidNetwork
from smalti.decoders.pyramid.pyramid_packing import open_reader
from smalti.decoders.pyramid.token_layout import TokenLayout
from smalti.entropy.frequency import MAX_PRECISION, FrequencyTable
from smalti.entropy.integers import IntegerReader, IntegerWriter
from smalti.entropy.priors import MAX_POSITION_CELLS, NetworkPrior, TablePrior
from smalti.errors import DamagedArchiveError, ModelError, UnsupportedArchiveError, UsageError

__all__ = ["KIND", "pack_prior", "unpack_prior"]

KIND = 3
MAX_NUMBERS = 1 << 24  # of all levels together
_TABLES, _NETWORK = 1, 2

Stored = tuple[FrequencyTable, tuple[TablePrior | NetworkPrior, ...]]
"""The depths and the levels of a prior."""


def pack_prior(depths: FrequencyTable, levels: tuple[TablePrior | NetworkPrior, ...]) -> bytes:
    """Serialise; `unpack_prior` is the inverse. The same prior gives the same bytes."""
    networks = [level for level in levels if isinstance(level, NetworkPrior)]
    chosen = [choose_levels(weight) for level in networks for weight in (level.weight1, level.weight2)]
    return min((_pack(depths, levels, iter(chosen), precision) for precision in PRECISIONS), key=len)


def unpack_prior(data: bytes, network: PyramidNetwork, layout: TokenLayout) -> Stored:
    """Read what `pack_prior` wrote for these levels.

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
    """What a level's prior says of itself, checked; `read` makes it of its numbers. numbers : how many there are"""

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
        """The numbers; ModelError if they do not fit each other."""
        rows, codes, hidden = self._rows, self._codes, self._hidden
        if self._kind == _TABLES:
            return TablePrior(reader.take(rows * codes).astype(np.uint32).reshape(rows, codes), self._first)
        weight1 = read_weights(reader, (self._features, hidden), -128, 127)
        bias1 = reader.take(rows * hidden, signed=True).astype(np.int32).reshape(rows, hidden)
        weight2 = read_weights(reader, (hidden, codes), -128, 127)
        bias2 = reader.take(codes, signed=True).astype(np.int32)
        return NetworkPrior(weight1, bias1, self._first, weight2, bias2, self._second)
