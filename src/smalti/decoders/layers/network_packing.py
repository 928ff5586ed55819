"""An integer network as few bytes, and back with every check (docs/format.md, "The decoder network").

The bytes are a description in canonical JSON, frequency tables, and one string of entropy-coded symbols that holds
every number of every layer. The range of every field of the description is checked.

Weights of similar size share a frequency table: each row (input) and each channel (output) has a level, in half
octaves, and weights of equal level (row + channel) share a table.
"""

import struct
from dataclasses import dataclass
from math import prod
from typing import Any, get_args

import numpy as np
from numpy.typing import DTypeLike, NDArray

from smalti.decoders.layers.integer_network import (
    EXACT,
    MAX_CHANNELS,
    MAX_KERNEL,
    MAX_LAYERS,
    MAX_SHIFT,
    MAX_TABLE,
    Clip,
    IntegerNetwork,
    Kind,
    Layer,
    Pair,
    PixelTable,
)
from smalti.entropy.coder import pack_tables
from smalti.entropy.frequency import FrequencyTable
from smalti.entropy.integers import MAX_SYMBOLS, IntegerReader, IntegerWriter, to_symbols
from smalti.errors import DamagedArchiveError, LimitExceededError, ModelError, UnsupportedArchiveError
from smalti.storage.canonical import canonical_json, parse_canonical_json

__all__ = [
    "MAX_PRECISION",
    "MAX_TABLES",
    "PRECISIONS",
    "LayerDescription",
    "Levels",
    "NetworkDescription",
    "choose_levels",
    "in_range",
    "pack_network",
    "read_layer",
    "read_matrix",
    "read_weights",
    "unpack_network",
    "write_layer",
    "write_weights",
]


MAX_LEVEL = 15
_COST_PRECISION = 8

Levels = tuple[NDArray[np.int64], NDArray[np.int64]]
"""The levels of the rows, and those of the channels."""


def write_weights(writer: IntegerWriter, weight: NDArray[np.integer], levels: Levels) -> None:
    """Append weights [rows, ..., channels] and their levels from `choose_levels`."""
    for each in levels:
        writer.add(each)
    writer.add(weight.ravel(), _groups(weight.shape, levels), signed=True)


def read_weights(reader: IntegerReader, shape: tuple[int, ...], low: int, high: int) -> NDArray[np.int16]:
    """Read the output of `write_weights`; DamagedArchiveError if a weight is outside low..high, within int16."""
    return read_matrix(reader, shape, low, high).astype(np.int16)


def read_matrix(reader: IntegerReader, shape: tuple[int, ...], low: int, high: int) -> NDArray[np.int64]:
    """As `read_weights`, for numbers of any size: int64."""
    rows, channels = (in_range(reader.take(size), 0, MAX_LEVEL, "level") for size in (shape[0], shape[-1]))
    weights = reader.take(prod(shape), _groups(shape, (rows, channels)), signed=True)
    return in_range(weights, low, high, "weight").reshape(shape)


def in_range(values: NDArray[np.int64], low: int, high: int, what: str) -> NDArray[np.int64]:
    """Return the same values; DamagedArchiveError if one is outside low..high."""
    if int(values.min()) < low or int(values.max()) > high:
        raise DamagedArchiveError(f"network: a {what} is outside {low}..{high}")
    return values


def choose_levels(weight: NDArray[np.integer]) -> Levels:
    """The levels of rows and of channels; all are 0 along an axis where different levels would not save bytes."""
    magnitudes = np.abs(weight.astype(np.int64))
    axes = tuple(range(weight.ndim))
    rows, channels = _half_octaves(magnitudes.sum(axis=axes[1:])), _half_octaves(magnitudes.sum(axis=axes[:-1]))
    symbols = to_symbols(magnitudes.ravel())
    choices = [(row, channel) for row in (0 * rows, rows) for channel in (0 * channels, channels)]
    return min(choices, key=lambda levels: _cost_bits(symbols, _groups(weight.shape, levels), levels))


def _groups(shape: tuple[int, ...], levels: Levels) -> NDArray[np.uint8]:
    """The group of each weight, in their order: the level of its row plus that of its channel."""
    rows, channels = levels
    sums = (rows.reshape(-1, *[1] * (len(shape) - 1)) + channels).astype(np.uint8)
    return np.broadcast_to(sums, shape).ravel()


def _half_octaves(sums: NDArray[np.int64]) -> NDArray[np.int64]:
    """floor(2 * log2(sum)), shifted so that the largest is MAX_LEVEL; at least 0."""
    fraction, exponent = np.frexp(sums.astype(np.float64))
    levels: NDArray[np.int64] = 2 * exponent.astype(np.int64) + (fraction >= 0.5**0.5)
    return np.maximum(levels - int(levels.max()) + MAX_LEVEL, 0)


def _cost_bits(symbols: NDArray[np.int64], groups: NDArray[np.uint8], levels: Levels) -> float:
    """The approximate bits of weights, tables and levels, without bits that are the same for every choice."""
    size = max(64, int(symbols.max()) + 1)
    counts = [np.bincount(symbols[groups == group], minlength=size) for group in np.flatnonzero(np.bincount(groups))]
    counts += [np.bincount(each, minlength=size) for each in levels]
    tables = [FrequencyTable.from_counts(row.astype(np.int64), _COST_PRECISION) for row in counts]
    packed = pack_tables(np.stack([table.frequencies for table in tables]), _COST_PRECISION)
    return 8.0 * len(packed) + sum(table.cost_bits(row) for table, row in zip(tables, counts, strict=True))


MAX_DESCRIPTION_BYTES = 1 << 16
MAX_PRECISION = 16
MAX_TABLES = 40
"""The most tables of a layer (or of a scale, a level or the canvas of a pyramid): 36 are needed."""


@dataclass(frozen=True)
class ActivationDescription:
    """An activation without its numbers. A clip to low..high has no entries (None); a pixel table has high = 0."""

    low: int
    high: int
    entries: int | None

    def to_json(self) -> dict[str, Any]:
        """The JSON object of the file."""
        if self.entries is None:
            return {"kind": "clip", "low": self.low, "high": self.high}
        return {"kind": "pixels", "low": self.low, "entries": self.entries}

    @classmethod
    def from_json(cls, found: Any) -> "ActivationDescription":
        """Check a JSON object of the file."""
        kind = _kind(found, ("clip", "pixels"), "activation")
        if kind == "clip":
            low, high = _numbers(found, {"low": (-128, 255), "high": (-128, 255)}, {"kind"})
            return cls(low, high, None)
        low, entries = _numbers(found, {"low": (-EXACT, EXACT), "entries": (1, MAX_TABLE)}, {"kind"})
        return cls(low, 0, entries)


@dataclass(frozen=True)
class LayerDescription:
    """A layer without its numbers."""

    kind: Kind
    inputs: int
    outputs: int
    kernel: Pair
    stride: Pair
    padding: Pair
    activation: ActivationDescription

    @property
    def unpacked_bytes(self) -> int:
        """Bytes of the layer's numbers in memory."""
        return 2 * self.inputs * prod(self.kernel) * self.outputs + 5 * self.outputs + (self.activation.entries or 0)

    @classmethod
    def of(cls, layer: Layer) -> "LayerDescription":
        """Describe a layer."""
        made = layer.activation
        activation = (
            ActivationDescription(made.low, made.high, None)
            if isinstance(made, Clip)
            else ActivationDescription(made.low, 0, len(made.values))
        )
        return cls(layer.kind, layer.inputs, layer.outputs, layer.kernel, layer.stride, layer.padding, activation)

    def to_json(self) -> dict[str, Any]:
        """The JSON object of the file."""
        return {
            "kind": self.kind,
            "inputs": self.inputs,
            "outputs": self.outputs,
            "kernel": self.kernel,
            "stride": self.stride,
            "padding": self.padding,
            "activation": self.activation.to_json(),
        }

    @classmethod
    def from_json(cls, found: Any) -> "LayerDescription":
        """Check a JSON object of the file. `Layer` checks how the numbers fit together."""
        kind = _kind(found, get_args(Kind), "layer")
        pairs = {"kernel": (1, MAX_KERNEL), "stride": (1, MAX_KERNEL), "padding": (0, MAX_KERNEL - 1)}
        sizes = {"inputs": (1, MAX_CHANNELS), "outputs": (1, MAX_CHANNELS)}
        inputs, outputs = _numbers(found, sizes, {"kind", "activation", *pairs})
        kernel, stride, padding = (_pair(found[name], name, *limits) for name, limits in pairs.items())
        activation = ActivationDescription.from_json(found["activation"])
        return cls(kind, inputs, outputs, kernel, stride, padding, activation)


@dataclass(frozen=True)
class NetworkDescription:
    """Layers without their numbers, and the tables that code these: their number, symbols of each, and precision."""

    layers: tuple[LayerDescription, ...]
    tables: int
    symbols: int
    precision: int

    @property
    def unpacked_bytes(self) -> int:
        """Bytes of the network's numbers in memory."""
        return sum(layer.unpacked_bytes for layer in self.layers)

    @classmethod
    def of(cls, network: IntegerNetwork, tables: int, symbols: int, precision: int) -> "NetworkDescription":
        """Describe a network."""
        return cls(tuple(map(LayerDescription.of, network.layers)), tables, symbols, precision)

    def to_bytes(self) -> bytes:
        """Canonical JSON; `from_bytes` is the inverse."""
        layers = [layer.to_json() for layer in self.layers]
        return canonical_json(
            {"layers": layers, "tables": self.tables, "symbols": self.symbols, "precision": self.precision}
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> "NetworkDescription":
        """Parse and check; DamagedArchiveError, or UnsupportedArchiveError for an unknown kind."""
        if len(data) > MAX_DESCRIPTION_BYTES:
            raise DamagedArchiveError(f"network: a description of {len(data):,} bytes")
        found = parse_canonical_json(data, "network")
        limits = {"tables": (1, MAX_TABLES * MAX_LAYERS), "symbols": (1, MAX_SYMBOLS), "precision": (1, MAX_PRECISION)}
        tables, symbols, precision = _numbers(found, limits, {"layers"})
        layers = found["layers"]
        if type(layers) is not list or not 1 <= len(layers) <= MAX_LAYERS:
            raise DamagedArchiveError("network: its layers are no list of a possible length")
        return cls(tuple(map(LayerDescription.from_json, layers)), tables, symbols, precision)


def _kind(found: Any, known: tuple[Any, ...], what: str) -> Any:
    kind = found.get("kind") if type(found) is dict else None
    if type(kind) is not str:
        raise DamagedArchiveError(f"network: a {what} without a kind")
    if kind not in known:
        raise UnsupportedArchiveError(f"{what} of kind {kind!r} is not known to this release; use a newer smalti")
    return kind


def _numbers(found: Any, limits: dict[str, Pair], others: set[str]) -> list[int]:
    """The integers of an object that must have exactly these keys and the `others`."""
    if type(found) is not dict or set(found) != set(limits) | others:
        raise DamagedArchiveError(f"network: not an object with the keys {', '.join(sorted(set(limits) | others))}")
    for name, (low, high) in limits.items():
        if type(found[name]) is not int or not low <= found[name] <= high:
            raise DamagedArchiveError(f"network: {name} is not an integer in {low}..{high}")
    return [found[name] for name in limits]


def _pair(found: Any, name: str, low: int, high: int) -> Pair:
    if type(found) is not list or len(found) != 2 or any(type(n) is not int or not low <= n <= high for n in found):
        raise DamagedArchiveError(f"network: {name} is no pair of integers in {low}..{high}")
    return found[0], found[1]


_LENGTH = struct.Struct("<I")
PRECISIONS = (8, 10, 12)
MAX_BEND = 2 * 65_535


def pack_network(network: IntegerNetwork) -> bytes:
    """Serialise; `unpack_network` is the inverse. The same network gives the same bytes."""
    levels = [choose_levels(layer.weight) for layer in network.layers]
    return min((_pack(network, levels, precision) for precision in PRECISIONS), key=len)


def unpack_network(data: bytes, max_bytes: int, dtype: DTypeLike = np.uint8) -> IntegerNetwork:
    """Read the output of `pack_network`.

    dtype : of the pixels, uint8 or uint16, which the bytes do not state
    max_bytes : of the unpacked numbers; larger networks are refused before anything is allocated

    Raises DamagedArchiveError for bytes that no `pack_network` writes, UnsupportedArchiveError for a kind of layer
    or activation that is unknown, LimitExceededError.
    """
    text, rest = _split(data, "its description")
    description = NetworkDescription.from_bytes(text)
    if description.unpacked_bytes > max_bytes:
        raise LimitExceededError(
            f"the decoder network takes {description.unpacked_bytes:,} bytes, more than the {max_bytes:,} that are "
            "allowed; raise the limit if you trust the file"
        )
    packed, coded = _split(rest, "its tables")
    reader = IntegerReader(packed, coded, description.tables, description.symbols, description.precision)
    try:
        network = IntegerNetwork(tuple(read_layer(reader, layer, dtype) for layer in description.layers))
    except ModelError as error:
        raise DamagedArchiveError(f"network: {error}") from error
    reader.finish()
    return network


def _pack(network: IntegerNetwork, levels: list[Levels], precision: int) -> bytes:
    writer = IntegerWriter(precision)
    for layer, pair in zip(network.layers, levels, strict=True):
        write_layer(writer, layer, pair)
    packed, coded = writer.finish()
    text = NetworkDescription.of(network, writer.tables, writer.symbols, precision).to_bytes()
    return b"".join([_LENGTH.pack(len(text)), text, _LENGTH.pack(len(packed)), packed, coded])


def _split(data: bytes, what: str) -> tuple[bytes, bytes]:
    """Split data whose first u32 is the length of a part: the part, and the rest."""
    if len(data) < _LENGTH.size or (size := _LENGTH.unpack_from(data)[0]) > len(data) - _LENGTH.size:
        raise DamagedArchiveError(f"network: {what} would end after the data")
    return data[_LENGTH.size : _LENGTH.size + size], data[_LENGTH.size + size :]


def write_layer(writer: IntegerWriter, layer: Layer, levels: Levels) -> None:
    """Append the numbers of a layer, and the levels of its weights."""
    write_weights(writer, layer.weight, levels)
    writer.add(layer.bias, signed=True)
    writer.add(layer.shift)
    if isinstance(layer.activation, PixelTable):
        values = layer.activation.values
        if values.dtype == np.uint8:
            writer.add(np.diff(values, prepend=np.uint8(0)))  # differences modulo 256
        else:
            writer.add(_bends(values), signed=True)


def _bends(values: NDArray[np.integer]) -> NDArray[np.int64]:
    """Second differences of values: small numbers where a table is smooth."""
    padded = np.concatenate([[0, 0], values.astype(np.int64)])
    bends: NDArray[np.int64] = padded[2:] - 2 * padded[1:-1] + padded[:-2]
    return bends


def read_layer(reader: IntegerReader, layer: LayerDescription, dtype: DTypeLike) -> Layer:
    """Read the output of `write_layer`; DamagedArchiveError, or ModelError if the numbers do not fit each other."""
    weight = read_weights(reader, (layer.inputs, *layer.kernel, layer.outputs), -(1 << 15), (1 << 15) - 1)
    bias = reader.take(layer.outputs, signed=True).astype(np.int32)
    shift = in_range(reader.take(layer.outputs), 0, MAX_SHIFT, "shift").astype(np.uint8)
    activation = _read_activation(reader, layer.activation, np.dtype(dtype))
    return Layer(layer.kind, weight, bias, shift, layer.stride, layer.padding, activation)


def _read_activation(
    reader: IntegerReader, activation: ActivationDescription, dtype: np.dtype[Any]
) -> Clip | PixelTable:
    if activation.entries is None:
        return Clip(activation.low, activation.high)
    if dtype == np.uint16:
        bends = in_range(reader.take(activation.entries, signed=True), -MAX_BEND, MAX_BEND, "bend of the pixel table")
        values = in_range(np.cumsum(np.cumsum(bends)), 0, 65_535, "value of the pixel table")
        return PixelTable(activation.low, values.astype(np.uint16))
    steps = in_range(reader.take(activation.entries), 0, 255, "step of the pixel table")
    return PixelTable(activation.low, np.cumsum(steps).astype(np.uint8))
