"""A pyramid network as few bytes, and back with every check (docs/format.md, "The pyramid network").

The bytes are a description, frequency tables, and one string of entropy-coded symbols that holds every number. The
description gives sizes and ranges in fields of fixed size, without names, because few bytes matter here. Each field
is checked when it is read; docs/format.md has their layout.
"""

import struct
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import DTypeLike

from smalti.decoders.layers.integer_network import EXACT, MAX_KERNEL, MAX_LAYERS, MAX_SHIFT, MAX_TABLE, Clip, Kind, Pair
from smalti.decoders.layers.network_packing import (
    MAX_PRECISION,
    MAX_TABLES,
    PRECISIONS,
    ActivationDescription,
    LayerDescription,
    Levels,
    choose_levels,
    in_range,
    read_layer,
    read_weights,
    write_layer,
    write_weights,
)
from smalti.decoders.pyramid.pyramid_network import (
    MAX_CODE,
    MAX_CODES,
    MAX_LEVELS,
    MAX_SCALES,
    Level,
    PyramidNetwork,
    Scale,
)
from smalti.entropy.integers import MAX_SYMBOLS, IntegerReader, IntegerWriter
from smalti.errors import DamagedArchiveError, LimitExceededError, ModelError, UnsupportedArchiveError

__all__ = [
    "Coding",
    "Fields",
    "LevelDescription",
    "PyramidDescription",
    "ScaleDescription",
    "pack_pyramid",
    "unpack_pyramid",
]


KIND = 1

_KINDS: dict[Kind, int] = {"up": 2, "conv": 3}


class Fields:
    """Little-endian fields, read from front to back; DamagedArchiveError if they end early. what : their owner"""

    def __init__(self, data: bytes, what: str) -> None:
        self._data, self._what, self._at = data, what, 0

    def take(self, layout: str) -> tuple[int, ...]:
        """Read the next fields, in the `layout` of `struct`."""
        try:
            found = struct.unpack_from("<" + layout, self._data, self._at)
        except struct.error as error:
            raise DamagedArchiveError(f"{self._what}: its fields end after the data") from error
        self._at += struct.calcsize("<" + layout)
        return found

    def split(self, size: int) -> tuple[bytes, bytes]:
        """The next `size` bytes, and the rest."""
        if size > len(self._data) - self._at:
            raise DamagedArchiveError(f"{self._what}: its tables end after the data")
        return self._data[self._at : self._at + size], self._data[self._at + size :]

    def demand(self, holds: bool, name: str) -> None:
        """Raise DamagedArchiveError unless a field is in range."""
        if not holds:
            raise DamagedArchiveError(f"{self._what}: {name} is out of range")


@dataclass(frozen=True)
class Coding:
    """The tables that code numbers: their number, symbols of each, precision, and bytes."""

    tables: int
    symbols: int
    precision: int
    packed_bytes: int

    def to_bytes(self) -> bytes:
        """The fields of the file."""
        return struct.pack("<HBBI", self.tables, self.symbols, self.precision, self.packed_bytes)

    @classmethod
    def read(cls, fields: Fields) -> "Coding":
        """Read and check the fields of the file. `check` bounds the number of tables."""
        found = cls(*fields.take("HBBI"))
        fields.demand(1 <= found.symbols <= MAX_SYMBOLS, "the number of symbols")
        fields.demand(1 <= found.precision <= MAX_PRECISION, "the precision of its tables")
        return found

    def check(self, fields: Fields, parts: int) -> None:
        """Raise DamagedArchiveError for more tables than this number of parts can have."""
        fields.demand(1 <= self.tables <= MAX_TABLES * parts, "the number of tables")


@dataclass(frozen=True)
class ScaleDescription:
    """A scale without its numbers."""

    stride: Pair
    kernel: Pair
    channels: int

    @classmethod
    def of(cls, scale: Scale) -> "ScaleDescription":
        """Describe a scale."""
        return cls(scale.stride, scale.kernel, scale.channels)

    @property
    def padding(self) -> Pair:
        """The padding with which the stem covers the canvas exactly."""
        y, x = ((kernel - stride) // 2 for kernel, stride in zip(self.kernel, self.stride, strict=True))
        return y, x

    def to_bytes(self) -> bytes:
        """The fields of the file."""
        return struct.pack("<BBBBH", *self.stride, *self.kernel, self.channels)

    @classmethod
    def read(cls, fields: Fields) -> "ScaleDescription":
        """Read and check the fields of the file."""
        sy, sx, ky, kx, channels = fields.take("BBBBH")
        for stride, kernel in ((sy, ky), (sx, kx)):
            covers = 1 <= stride <= kernel <= MAX_KERNEL and (kernel - stride) % 2 == 0
            fields.demand(covers, "the stride or kernel of a scale")
        fields.demand(channels >= 1, "the channels of a scale")
        return cls((sy, sx), (ky, kx), channels)


@dataclass(frozen=True)
class LevelDescription:
    """A level without its codes."""

    scale: int
    start: int
    width: int
    size: int

    @classmethod
    def of(cls, level: Level) -> "LevelDescription":
        """Describe a level."""
        return cls(level.scale, level.start, level.codes.shape[1], level.size)

    def to_bytes(self) -> bytes:
        """The fields of the file."""
        return struct.pack("<BHHH", self.scale, self.start, self.width, self.size)

    @classmethod
    def read(cls, fields: Fields) -> "LevelDescription":
        """Read and check the fields of the file. The network checks that levels fit their scales."""
        found = cls(*fields.take("BHHH"))
        fields.demand(found.width >= 1 and found.size >= 1, "the size of a level")
        return found


@dataclass(frozen=True)
class PyramidDescription:
    """A network without its numbers, and the coding of these."""

    grid: Pair
    channels: int
    clip: Clip
    scales: tuple[ScaleDescription, ...]
    levels: tuple[LevelDescription, ...]
    layers: tuple[LayerDescription, ...]
    coding: Coding

    @classmethod
    def of(cls, network: PyramidNetwork, grid: Pair, coding: Coding) -> "PyramidDescription":
        """Describe a network for a canvas."""
        scales = tuple(map(ScaleDescription.of, network.scales))
        levels = tuple(map(LevelDescription.of, network.levels))
        layers = tuple(map(LayerDescription.of, network.layers))
        return cls(grid, len(network.bias), network.clip, scales, levels, layers, coding)

    @property
    def unpacked_bytes(self) -> int:
        """Bytes of the network's numbers in memory."""
        stems = sum(2 * scale.channels * prod(scale.kernel) * self.channels for scale in self.scales)
        codes = sum(2 * level.size * level.width for level in self.levels)
        return stems + codes + 5 * self.channels + sum(layer.unpacked_bytes for layer in self.layers)

    def to_bytes(self) -> bytes:
        """The fields; `read` is the inverse."""
        counts = (KIND, len(self.scales), len(self.levels), len(self.layers))
        head = struct.pack("<BBBBHHHhh", *counts, *self.grid, self.channels, self.clip.low, self.clip.high)
        described = [scale.to_bytes() for scale in self.scales] + [level.to_bytes() for level in self.levels]
        return b"".join([head, self.coding.to_bytes(), *described, *map(_layer_bytes, self.layers)])

    @classmethod
    def read(cls, fields: Fields) -> "PyramidDescription":
        """Read and check the fields; DamagedArchiveError, UnsupportedArchiveError, ModelError for a wrong clip."""
        (kind,) = fields.take("B")
        if kind != KIND:
            raise UnsupportedArchiveError(f"pyramid of kind {kind} is not known to this release; use a newer smalti")
        scales, levels, layers, rows, columns, channels, low, high = fields.take("BBBHHHhh")
        fields.demand(1 <= scales <= MAX_SCALES and 1 <= levels <= MAX_LEVELS, "the number of scales or levels")
        fields.demand(1 <= layers <= MAX_LAYERS and channels >= 1, "the number of layers or channels")
        fields.demand(min(rows, columns) >= 1, "the canvas")
        coding = Coding.read(fields)
        coding.check(fields, scales + levels + layers + 1)
        described = tuple(ScaleDescription.read(fields) for _ in range(scales))
        of_levels = tuple(LevelDescription.read(fields) for _ in range(levels))
        fields.demand(sum(level.size for level in of_levels) <= MAX_CODES, "the number of codes")
        return cls(
            (rows, columns), channels, Clip(low, high), described, of_levels, _layers(fields, layers, channels), coding
        )


def _layer_bytes(layer: LayerDescription) -> bytes:
    head = struct.pack("<BBBBBBBH", _KINDS[layer.kind], *layer.kernel, *layer.stride, *layer.padding, layer.outputs)
    made = layer.activation
    if made.entries is None:
        return head + struct.pack("<hh", made.low, made.high)
    return head + struct.pack("<iI", made.low, made.entries)


def _layers(fields: Fields, count: int, inputs: int) -> tuple[LayerDescription, ...]:
    layers = []
    for number in range(count):
        kind, ky, kx, sy, sx, py, px, outputs = fields.take("BBBBBBBH")
        name = {value: name for name, value in _KINDS.items()}.get(kind)
        if name is None:
            raise UnsupportedArchiveError(f"layer of kind {kind} is not known to this release; use a newer smalti")
        for kernel, stride, padding in ((ky, sy, py), (kx, sx, px)):
            fields.demand(1 <= stride <= MAX_KERNEL and padding < kernel <= MAX_KERNEL, "the kernel of a layer")
        fields.demand(outputs >= 1, "the channels of a layer")
        activation = _activation(fields, last=number == count - 1)
        layers.append(LayerDescription(name, inputs, outputs, (ky, kx), (sy, sx), (py, px), activation))
        inputs = outputs
    return tuple(layers)


def _activation(fields: Fields, last: bool) -> ActivationDescription:
    if not last:
        low, high = fields.take("hh")
        return ActivationDescription(low, high, None)
    low, entries = fields.take("iI")
    fields.demand(abs(low) <= EXACT and 1 <= entries <= MAX_TABLE, "the pixel table")
    return ActivationDescription(low, 0, entries)


def pack_pyramid(network: PyramidNetwork, grid: Pair) -> bytes:
    """Serialise a network for a canvas `grid` (h, w); `unpack_pyramid` is the inverse.

    The same network gives the same bytes. Raises ModelError if it does not fit the grid.
    """
    network.output_size(grid)
    arrays = [scale.stem for scale in network.scales]
    arrays += [level.codes for level in network.levels]
    arrays += [layer.weight for layer in network.layers]
    levels = [choose_levels(array) for array in arrays]
    return min((_pack(network, grid, levels, precision) for precision in PRECISIONS), key=len)


def unpack_pyramid(data: bytes, max_bytes: int, dtype: DTypeLike = np.uint8) -> tuple[PyramidNetwork, Pair]:
    """Read the output of `pack_pyramid`: the network, and the grid of its canvas.

    dtype : of the pixels, uint8 or uint16, which the bytes do not state
    max_bytes : of the unpacked numbers; larger networks are refused before anything is allocated

    Raises DamagedArchiveError for bytes that no `pack_pyramid` writes, UnsupportedArchiveError for a kind of layer
    that is unknown, LimitExceededError.
    """
    fields = Fields(data, "pyramid")
    try:
        description = PyramidDescription.read(fields)
        if description.unpacked_bytes > max_bytes:
            raise LimitExceededError(
                f"the pyramid network takes {description.unpacked_bytes:,} bytes, more than the {max_bytes:,} that "
                "are allowed; raise the limit if you trust the file"
            )
        reader = open_reader(fields, description.coding)
        network = _read(reader, description, dtype)
        network.output_size(description.grid)
    except ModelError as error:
        raise DamagedArchiveError(f"pyramid: {error}") from error
    reader.finish()
    return network, description.grid


def open_reader(fields: Fields, coding: Coding) -> IntegerReader:
    """A reader of the numbers that follow the fields."""
    packed, coded = fields.split(coding.packed_bytes)
    return IntegerReader(packed, coded, coding.tables, coding.symbols, coding.precision)


def _pack(network: PyramidNetwork, grid: Pair, levels: list[Levels], precision: int) -> bytes:
    writer, of_arrays = IntegerWriter(precision), iter(levels)
    for scale in network.scales:
        write_weights(writer, scale.stem, next(of_arrays))
    writer.add(network.bias, signed=True)
    writer.add(network.shift)
    for level in network.levels:
        write_weights(writer, level.codes, next(of_arrays))
    for layer in network.layers:
        write_layer(writer, layer, next(of_arrays))
    packed, coded = writer.finish()
    coding = Coding(writer.tables, writer.symbols, precision, len(packed))
    return PyramidDescription.of(network, grid, coding).to_bytes() + packed + coded


def _read(reader: IntegerReader, description: PyramidDescription, dtype: DTypeLike) -> PyramidNetwork:
    channels = description.channels
    scales = [
        Scale(scale.stride, read_weights(reader, (scale.channels, *scale.kernel, channels), -128, 127), scale.padding)
        for scale in description.scales
    ]
    bias = reader.take(channels, signed=True).astype(np.int32)
    shift = in_range(reader.take(channels), 0, MAX_SHIFT, "shift").astype(np.uint8)
    levels = [
        Level(level.scale, level.start, read_weights(reader, (level.size, level.width), -MAX_CODE, MAX_CODE))
        for level in description.levels
    ]
    layers = [read_layer(reader, layer, dtype) for layer in description.layers]
    return PyramidNetwork(tuple(scales), tuple(levels), bias, shift, description.clip, tuple(layers))
